package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// options are what flags of single verbs say.
type options struct {
	sort    string
	top     int
	match   string
	last    int
	every   time.Duration
	count   int
	timeout time.Duration
	headers headers
	bytes   bool
	key     string
	gossip  bool
	turns   bool
	echo    bool
	least   int
	clients int
	size    int
	page    string // where it is
	try     bool
}

// watching is whether, and how often, a verb goes on.
type watching struct{ on bool }

func watchFlags(c *call) {
	c.set.BoolVar(&c.watch.on, "watch", false, "go on, each -every")
	c.set.DurationVar(&c.every, "every", time.Second, "`time` between two looks")
}

func monitorFlags(c *call) {
	c.watch.on = true
	c.set.IntVar(&c.last, "last", 20, "begin with so many events of before, at most")
}

func reportFlags(c *call) {
	watchFlags(c)
	c.set.StringVar(&c.sort, "sort", "", "`column` to sort by, the largest first")
	c.set.IntVar(&c.top, "top", 50, "show so many rows")
	c.set.StringVar(&c.match, "match", "", "only addresses that have this `text` in them")
}

func topFlags(c *call) {
	c.watch.on = true
	c.set.DurationVar(&c.every, "every", time.Second, "`time` between two looks")
	c.set.IntVar(&c.top, "top", 20, "show so many addresses")
	c.set.IntVar(&c.count, "n", 0, "end after so many looks; 0 is never")
	c.set.StringVar(&c.match, "match", "", "only addresses that have this `text` in them")
}

func checkFlags(c *call) {
	c.set.IntVar(&c.least, "min", 0, "critical if fewer `nodes` are alive")
}

func sendFlags(c *call) {
	c.set.IntVar(&c.count, "n", 1, "send so many, one after the other")
	c.set.DurationVar(&c.timeout, "timeout", 5*time.Second, "give up after this `time`")
	c.set.Var(&c.headers, "H", "a `header`, key:value; may be given again")
	c.set.BoolVar(&c.bytes, "bytes", false, "send the body as bytes; otherwise as JSON, which it may be, or else as a string")
	if c.verb.name != "pub" {
		c.set.StringVar(&c.key, "key", "", "choose the consumer by this `key`")
	} else {
		c.set.BoolVar(&c.gossip, "gossip", false, "over the gossip lane")
	}
}

func subFlags(c *call) {
	c.watch.on = true
	c.set.IntVar(&c.count, "n", 0, "end after so many messages; 0 is never")
	c.set.BoolVar(&c.turns, "turns", false, "take turns with the other consumers: what is shown, they do not get")
}

func replyFlags(c *call) {
	c.watch.on = true
	c.set.IntVar(&c.count, "n", 0, "end after so many messages; 0 is never")
	c.set.BoolVar(&c.echo, "echo", false, "answer with the body that came; otherwise with nothing")
}

func benchFlags(c *call) {
	c.set.IntVar(&c.clients, "clients", 8, "so many send at once")
	c.set.IntVar(&c.count, "n", 10_000, "so many messages in all")
	c.set.IntVar(&c.size, "size", 128, "`bytes` of a body")
	c.set.DurationVar(&c.timeout, "timeout", 5*time.Second, "give up on one after this `time`")
}

// checkOptions says what is wrong with the flags.
func (c *call) checkOptions() error {
	switch {
	case c.count < 0:
		return fmt.Errorf("-n is %d; it must not be negative", c.count)
	case c.every < 0 || c.set.Lookup("every") != nil && c.every < 100*time.Millisecond:
		return fmt.Errorf("-every is %v; it must be at least 100ms", c.every)
	case c.set.Lookup("timeout") != nil && c.timeout <= 0:
		return fmt.Errorf("-timeout is %v; it must be over 0", c.timeout)
	case c.set.Lookup("top") != nil && c.top < 1:
		return fmt.Errorf("-top is %d; it must be at least 1", c.top)
	case c.set.Lookup("clients") != nil && (c.clients < 1 || c.size < 0 || c.count < 1):
		return errors.New("-clients and -n must be at least 1, and -size not negative")
	}
	return nil
}

// headers are those of a message.
type headers map[string][]string

// String is for the flag package.
func (h *headers) String() string { return "" }

// Set adds one.
func (h *headers) Set(s string) error {
	k, v, ok := strings.Cut(s, ":")
	if !ok || strings.TrimSpace(k) == "" {
		return fmt.Errorf("%q is not key:value", s)
	}
	if *h == nil {
		*h = headers{}
	}
	k = strings.ToLower(strings.TrimSpace(k))
	(*h)[k] = append((*h)[k], strings.TrimSpace(v))
	return nil
}

var _ flag.Value = (*headers)(nil)

// repeat calls f once, or each c.every until ctx ends, with the client of a node. When
// the node goes it takes another one.
func (c *call) repeat(ctx context.Context, f func(ctx context.Context, client *inspect.Client) error) error {
	client, err := c.attach(ctx)
	if err != nil {
		return err
	}
	defer func() { client.Close() }()
	tick := time.NewTicker(max(c.every, 100*time.Millisecond))
	defer tick.Stop()
	for n := 1; ; n++ {
		if err := f(ctx, client); err != nil {
			if !c.watch.on || errors.Is(err, errUsage) {
				return err
			}
			other, again := c.attach(ctx)
			if again != nil {
				return err
			}
			client.Close()
			client = other
		}
		if !c.watch.on || c.count > 0 && n >= c.count {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
