package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// fileMax is how many bytes a list in a file may have.
const fileMax = 1 << 20

// File returns a Provider that reads path each time it is asked: "host:port"
// entries that are separated by line ends, spaces or commas; from "#" to the
// end of a line is a comment. An empty file says that nobody else is there. One
// that is missing, not a regular file or larger than 1 MiB, and one with a bad
// entry, is an error: nothing of it is used. Change it by renaming another file
// to path, lest a half of it is read.
func File(path string) Provider {
	return ProviderFunc(func(ctx context.Context) ([]string, error) {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("discovery: file %q: %w", path, context.Cause(ctx))
		}
		if path == "" {
			return nil, Misconfigured(errors.New("discovery: File has an empty path; give that of the list"))
		}
		text, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("discovery: file %q: %w", path, err)
		}
		list, err := parseList(text)
		if err != nil {
			return nil, fmt.Errorf("discovery: file %q: entry %w", path, err)
		}
		return list, nil
	})
}

// readFile reads a regular file. Opening another kind, a pipe say, could wait
// for ever.
func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // was only read
	data, err := io.ReadAll(io.LimitReader(f, fileMax+1))
	if err == nil && len(data) > fileMax {
		err = fmt.Errorf("larger than %d bytes", fileMax)
	}
	return string(data), err
}

// Env returns a Provider that reads an environment variable each time it is
// asked: "host:port" entries that are separated by commas or spaces. A variable
// that is set but empty says that nobody else is there. One that is not set, or
// has a bad entry, is an error of configuration ([IsMisconfigured]), since the
// environment of a process does not change. The errors of [File] are not, since
// somebody may write the file at any moment.
func Env(name string) Provider {
	return ProviderFunc(func(context.Context) ([]string, error) {
		if name == "" {
			return nil, Misconfigured(errors.New("discovery: Env has an empty name; give that of a variable"))
		}
		text, ok := os.LookupEnv(name)
		if !ok {
			return nil, Misconfigured(fmt.Errorf("discovery: environment variable %s is not set; set it to \"host:port,host:port\", or to nothing on the first node", name))
		}
		list, err := parseList(text)
		if err != nil {
			return nil, Misconfigured(fmt.Errorf("discovery: environment variable %s: entry %w", name, err))
		}
		return list, nil
	})
}

// parseList reads a list of addresses. It drops repeats.
func parseList(text string) ([]string, error) {
	var list []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, addr := range strings.FieldsFunc(line, separates) {
			if err := validate(addr); err != nil {
				return nil, err
			}
			if !slices.Contains(list, addr) {
				list = append(list, addr)
			}
		}
	}
	return list, nil
}

func separates(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }
