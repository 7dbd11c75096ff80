package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// end is how a request may end, and the one text of that end, in which AT stands for
// " at n1", BY for " by n1" and ON for " on n1" where the consumer is at another node.
type end struct {
	address      string
	alone, links string // links: "" is as alone
	meanwhile    func(p pair, c *bus.Consumer)
	size         int
}

// requestEnds are the ends at a deadline. The consumers are those of TestEndsOfARequest.
var requestEnds = []end{
	{address: "nobody", alone: `bus: no consumer of "nobody"`},
	{address: "full", alone: `bus: busy: no consumer of "full"ON had room in time: context deadline exceeded`},
	{address: "paused", alone: `bus: request to "paused": no reply in time (waiting at its consumer): context deadline exceeded`,
		links: `bus: request to "paused"AT: no reply in time (sent): context deadline exceeded`},
	{address: "slow", alone: `bus: request to "slow": no reply in time (its handler runs): context deadline exceeded`,
		links: `bus: request to "slow"AT: no reply in time (sent): context deadline exceeded`},
	{address: "many", alone: `bus: request to "many": no reply in time (its handler runs): context deadline exceeded`,
		links: `bus: request to "many"AT: no reply in time (sent): context deadline exceeded`},
	{address: "deferred", alone: `bus: request to "deferred": no reply in time (its handler runs): context deadline exceeded`,
		links: `bus: request to "deferred"AT: no reply in time (sent): context deadline exceeded`},
	{address: "closes", alone: `request to "closes": bus: no consumer of "closes" took it in time after it was sent backBY: context deadline exceeded`,
		meanwhile: func(_ pair, c *bus.Consumer) { c.Close() }},
	{address: "refuses", alone: `request to "refuses"AT: bus: consumer answered: no (code 7)`},
	{address: "panics", alone: `request to "panics"AT: bus: consumer answered: the handler panicked (code -2)`},
	{address: "slow", size: 1 << 20, alone: `bus: request to "slow": no reply in time (its handler runs): context deadline exceeded`,
		links: `bus: request to "slow"AT: no reply in time (sent): context deadline exceeded`},
}

// consumers registers what requestEnds ask.
func endConsumers(t *testing.T, p pair) map[string]*bus.Consumer {
	wait := func(ctx context.Context, _ *bus.Message) error {
		<-ctx.Done()
		return ctx.Err()
	}
	cs := map[string]*bus.Consumer{
		"full":     consume(t, p.to, "full", nothing, bus.WithWindow(1<<10)),
		"paused":   consume(t, p.to, "paused", nothing),
		"closes":   consume(t, p.to, "closes", nothing),
		"slow":     consume(t, p.to, "slow", wait),
		"many":     consume(t, p.to, "many", wait, bus.WithConcurrency(2)),
		"deferred": consume(t, p.to, "deferred", func(_ context.Context, m *bus.Message) error { return m.Defer() }, bus.Deferring()),
		"refuses":  consume(t, p.to, "refuses", func(context.Context, *bus.Message) error { return &bus.ReplyError{Code: 7, Message: "no"} }),
		"panics":   consume(t, p.to, "panics", func(context.Context, *bus.Message) error { panic("boom") }),
	}
	for _, address := range []string{"full", "paused", "closes"} {
		cs[address].Pause()
	}
	if err := p.from.Send(t.Context(), "full", make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
	return cs
}

// Each kind of end of a request has one text, whoever sees that the time is over: the
// caller's context or the bus. It names the address, the node, and how far the request came.
func TestEndsOfARequest(t *testing.T) {
	for _, e := range requestEnds {
		for how, timeout := range map[string]time.Duration{"context": time.Second, "bus": 0} {
			t.Run(fmt.Sprint(e.address, " ", how, " ", e.size), func(t *testing.T) {
				both(t, func(t *testing.T, p pair) {
					c := endConsumers(t, p)[e.address]
					ctx := t.Context()
					if timeout > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, timeout)
						defer cancel()
					}
					err := ask(ctx, p, e, c)
					if want := e.text(p); fmt.Sprint(err) != want {
						t.Errorf("%v; want %s", err, want)
					}
				})
			})
		}
	}
}

// ask asks, and does meanwhile what e says.
func ask(ctx context.Context, p pair, e end, c *bus.Consumer) error {
	got := make(chan error, 1)
	go func() {
		_, err := p.from.Request(ctx, e.address, make([]byte, e.size))
		got <- err
	}()
	synctest.Wait()
	if e.meanwhile != nil {
		e.meanwhile(p, c)
	}
	return <-got
}

func (e *end) text(p pair) string {
	text, name := e.alone, ""
	if p.linked {
		name = "n1"
		if e.links != "" {
			text = e.links
		}
	}
	for short, long := range map[string]string{"AT": " at ", "BY": " by ", "ON": " on "} {
		if name == "" {
			long = ""
		}
		text = strings.Replace(text, short, long+name, 1)
	}
	return text
}

// A request that its caller gives up says how far it came, too, and one that was not begun.
func TestEndsOfARequestGivenUp(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		cs := endConsumers(t, p)
		for _, e := range []end{
			{address: "slow", alone: `bus: request to "slow": given up (its handler runs): context canceled`, links: `bus: request to "slow"AT: given up (sent): context canceled`},
			{address: "paused", alone: `bus: request to "paused": given up (waiting at its consumer): context canceled`, links: `bus: request to "paused"AT: given up (sent): context canceled`},
			{address: "closes", alone: `bus: request to "closes": given up (sent back, waiting for another consumer): context canceled`, meanwhile: func(_ pair, c *bus.Consumer) {
				c.Close()
				synctest.Wait()
			}},
			{address: "full", alone: `bus: busy: no consumer of "full"ON had room in time: context canceled`},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			meanwhile := e.meanwhile
			e.meanwhile = func(p pair, c *bus.Consumer) {
				if meanwhile != nil {
					meanwhile(p, c)
				}
				cancel()
			}
			if err := ask(ctx, p, e, cs[e.address]); fmt.Sprint(err) != e.text(p) {
				t.Errorf("%v; want %s", err, e.text(p))
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for verb, call := range map[string]func() error{
			"Request":    func() error { _, err := p.from.Request(ctx, "slow", nil); return err },
			"Send":       func() error { return p.from.Send(ctx, "slow", nil) },
			"Publish":    func() error { return p.from.Publish(ctx, "slow", nil) },
			"RequestAll": func() error { _, err := p.from.RequestAll(ctx, "slow", nil); return err },
		} {
			if err := call(); fmt.Sprint(err) != fmt.Sprintf(`bus: %s to "slow" was not begun: context canceled`, verb) || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", verb, err)
			}
		}
	})
}
