package command

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// keygen prints a secret.
func keygen(_ context.Context, c *call) error {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	_, err := fmt.Fprintln(c.out, base64.StdEncoding.EncodeToString(b[:]))
	return err
}

// version prints what this program is made of.
func version(_ context.Context, c *call) error {
	v := map[string]string{"library": "?", "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "snapshot": fmt.Sprint(inspect.Version)}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == "github.com/runrig-go/runrig" {
				v["library"] = m.Version
			}
		}
	}
	if c.json {
		return c.document(v)
	}
	_, err := fmt.Fprintf(c.out, "runrig %s, %s, %s, snapshots of version %s\n", v["library"], v["go"], v["platform"], v["snapshot"])
	return err
}

// completions complete verbs, by shell.
var completions = map[string]string{
	"bash": `complete -W "%s" runrig` + "\n",
	"zsh":  "#compdef runrig\n_runrig() { compadd %s }\ncompdef _runrig runrig\n",
	"fish": `complete -c runrig -f -n __fish_use_subcommand -a "%s"` + "\n",
}

// completion prints what a shell is to read.
func completion(_ context.Context, c *call) error {
	format, ok := completions[c.args[0]]
	if !ok {
		return fmt.Errorf("%w: completion for %s; there are bash, fish and zsh", errUsage, show(c.args[0]))
	}
	var names []string
	for _, v := range verbs() {
		names = append(names, v.name)
	}
	_, err := fmt.Fprintf(c.out, format, strings.Join(names, " "))
	return err
}
