package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/inspect"
)

// secrets returns the cluster's secret, if one is given. Where it was given wrongly the
// error says so, and never what it was.
func (c *call) secrets() (cluster.Secrets, error) {
	text := c.getenv(c.secretEnv)
	if c.secret != "" {
		b, err := os.ReadFile(c.secret)
		if err != nil {
			return cluster.Secrets{}, fmt.Errorf("-secret-file: %w", err)
		}
		if text = string(b); strings.TrimSpace(text) == "" {
			return cluster.Secrets{}, fmt.Errorf("-secret-file: %s is empty", c.secret)
		}
	}
	list := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	if len(list) == 0 {
		return cluster.Secrets{}, nil
	}
	for _, s := range list {
		if len(s) < cluster.MinSecret {
			return cluster.Secrets{}, fmt.Errorf("the secret in %s has %d bytes; needed are at least %d random ones, as runrig keygen makes them", c.secretFrom(), len(s), cluster.MinSecret)
		}
	}
	return cluster.NewSecrets(list...), nil
}

// secretFrom is where the secret is from.
func (c *call) secretFrom() string { return orElse(c.secret, c.secretEnv) }

// attach returns a client of the first node that answers.
func (c *call) attach(ctx context.Context) (*inspect.Client, error) {
	secrets, err := c.secrets()
	if err != nil {
		return nil, err
	}
	var errs []error
	for addr := range strings.SplitSeq(c.nodes, ",") {
		addr = withPort(strings.TrimSpace(addr))
		client := inspect.NewClient(addr, cluster.Config{Secrets: secrets})
		_, err := client.Node(ctx, inspect.Query{Addresses: -1, Members: -1, Links: -1, Verticles: -1})
		if err == nil {
			return client, nil
		}
		client.Close()
		errs = append(errs, c.explain(addr, secrets, err))
	}
	return nil, errors.Join(errs...)
}

// withPort adds the port that nodes have by default.
func withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(strings.Trim(addr, "[]"), strconv.Itoa(cluster.DefaultPort))
}

// explain says what to do about an error of a node.
func (c *call) explain(addr string, secrets cluster.Secrets, err error) error {
	missing := secrets == cluster.Secrets{}
	switch {
	case errors.Is(err, cluster.ErrSecret) && missing:
		return fmt.Errorf("the node at %s has a secret, and none is given: set %s to it, or name a file that has it with -secret-file", addr, c.secretEnv)
	case errors.Is(err, cluster.ErrSecret):
		return fmt.Errorf("the node at %s does not accept the secret in %s: it has another one, or none", addr, c.secretFrom())
	case errors.Is(err, cluster.ErrVersion):
		return fmt.Errorf("the node at %s does not serve this command: set cluster.Config.Admin to inspect.Handler in its program", addr)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody is at %s: give the address of a node that runs with -node, or in RUNRIG_NODE", addr)
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return fmt.Errorf("no answer from %s: is the port open from here, and is a node there?", addr)
	}
	return fmt.Errorf("node at %s: %w", addr, err)
}
