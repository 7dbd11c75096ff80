package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/bus/bustest"
)

// news is a rule by which clients share a consumer, beside one by which they do not.
var news = []bridge.Rule{
	{Direction: bridge.In | bridge.Out, Prefix: "news.", PublishedOnly: true},
	{Direction: bridge.In | bridge.Out, Prefix: "all."},
}

// registered waits until so many clients' registrations are there.
func (s *setup) registered(t *testing.T, n int) {
	t.Helper()
	within(t, "registered", func() bool { return s.bridge.Stats().Consumers == n })
}

// publishToAll publishes again what the bus had to skip its only consumer for, as it has to
// on a machine that is busy enough.
func publishToAll(t *testing.T, eb *bus.EventBus, address string, body any) {
	t.Helper()
	for before, now := uint64(0), uint64(1); before != now; {
		before = eb.Stats().Skipped
		if err := eb.Publish(t.Context(), address, body); err != nil {
			t.Fatal(err)
		}
		now = eb.Stats().Skipped
	}
}

func at(eb *bus.EventBus, address string) bus.AddressStats {
	for _, a := range eb.Addresses() {
		if a.Address == address {
			return a
		}
	}
	return bus.AddressStats{}
}

// Clients that hear publishes only share one consumer of the bus, which takes no turn, for
// as long as one of them is registered.
func TestSharedConsumer(t *testing.T) {
	t.Parallel()
	eb := bustest.NewBus(t)
	s := newSetup(t, eb, bridge.Config{Rules: news})
	var all []peer
	for range 3 {
		for _, tr := range transports {
			all = append(all, s.dial(tr))
		}
	}
	for _, p := range all {
		p.write(`{"type":"register","address":"news.x"}`)
	}
	s.registered(t, len(all))
	if a := at(eb, "news.x"); a.Consumers != 1 || a.PublishedOnly != 1 {
		t.Errorf("%d clients are %+v", len(all), a)
	}
	for _, p := range all[:3] { // it is no consumer that takes what is sent
		p.write(`{"type":"send","address":"news.x","replyAddress":"r","body":1}`)
		if got := p.read(); !strings.Contains(got, "NO_HANDLERS") {
			t.Errorf("read %s", got)
		}
	}
	for i := range 20 {
		if err := eb.Publish(t.Context(), "news.x", i, bus.WithHeader("a", "b")); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range all {
		for n := range 20 {
			expect(t, p, flavour(transports[i%3], fmt.Sprintf(`{"type":"message","address":"news.x","headers":{"a":"b"},"body":%d,"send":false}`, n)))
		}
	}
	for i, p := range all {
		if i%2 == 0 {
			p.write(`{"type":"unregister","address":"news.x"}`)
		} else {
			p.close()
		}
		s.registered(t, len(all)-1-i)
		if a := at(eb, "news.x"); a.Consumers != min(1, len(all)-1-i) {
			t.Errorf("%d clients are left: %+v", len(all)-1-i, a)
		}
	}
	all[0].write(`{"type":"register","address":"news.x"}`)
	s.registered(t, 1)
	all[0].write(`{"type":"publish","address":"news.x"}`)
	expect(t, all[0], `{"type":"message","address":"news.x","headers":{},"send":false}`)
}

// What very many clients hear is made JSON once.
func TestSharedEncoding(t *testing.T) {
	t.Parallel()
	var made atomic.Int32
	eb := bustest.NewBus(t)
	s := newSetup(t, eb, bridge.Config{Rules: news, ToClient: func(_ string, m *bus.Message) (json.RawMessage, error) {
		made.Add(1)
		return json.RawMessage(`"once"`), nil
	}})
	var all []peer
	for i := range 90 {
		p := s.dial(transports[i%3])
		p.write(`{"type":"register","address":"news.x"}`)
		all = append(all, p)
	}
	s.registered(t, len(all))
	if err := eb.Publish(t.Context(), "news.x", 1); err != nil {
		t.Fatal(err)
	}
	for i, p := range all {
		expect(t, p, flavour(transports[i%3], `{"type":"message","address":"news.x","headers":{},"body":"once","send":false}`))
	}
	if made.Load() != 1 {
		t.Errorf("it was made JSON %d times", made.Load())
	}
}

// Rules and the hook look at each message for each client, and what the hook changes for
// one is not changed for others; a client that it holds up holds up no other.
func TestSharedHooks(t *testing.T) {
	t.Parallel()
	type name struct{}
	held := make(chan struct{})
	hook := func(ctx context.Context, c *bridge.Client, e *bridge.Event) error {
		switch who := c.Value(name{}); {
		case e.Kind == bridge.Publish && e.Address == "all.name":
			c.Set(name{}, string(e.Body))
		case e.Kind != bridge.Receive:
		case who == `"no"`:
			return errors.New("not for you")
		case who == `"header"`:
			e.Header.Set("for", "me")
		case who == `"body"`:
			e.Body = json.RawMessage(`"mine"`)
		case who == `"held"`:
			select {
			case <-held:
			case <-ctx.Done():
			}
		}
		return nil
	}
	eb := bustest.NewBus(t)
	s := newSetup(t, eb, bridge.Config{Rules: news, Authorize: hook})
	names := []string{"no", "header", "body", "plain", "held"}
	by := map[string]peer{}
	for _, n := range names {
		p := s.dial("tcp")
		p.write(`{"type":"publish","address":"all.name","body":"` + n + `"}`)
		p.write(`{"type":"register","address":"news.x"}`)
		by[n] = p
	}
	s.registered(t, len(names))
	for range 2 {
		if err := eb.Publish(t.Context(), "news.x", "for all", bus.WithHeader("for", "all")); err != nil {
			t.Fatal(err)
		}
		expect(t, by["header"], `{"type":"message","address":"news.x","headers":{"for":"me"},"body":"for all","send":false}`)
		expect(t, by["body"], `{"type":"message","address":"news.x","headers":{"for":"all"},"body":"mine","send":false}`)
		expect(t, by["plain"], `{"type":"message","address":"news.x","headers":{"for":"all"},"body":"for all","send":false}`)
	}
	within(t, "withheld", func() bool { return s.bridge.Stats().Withheld == 2 })
	close(held)
	for range 2 {
		expect(t, by["held"], `{"type":"message","address":"news.x","headers":{"for":"all"},"body":"for all","send":false}`)
	}
}

// However much more is published than outboxes hold, a client that reads hears it in order,
// and what it misses is counted.
func TestSharedBurst(t *testing.T) {
	t.Parallel()
	overAll(t, bridge.Config{Rules: news, Limits: bridge.Limits{Outbox: 64 << 10}}, func(t *testing.T, s *setup, tr string) {
		p := s.dial(tr)
		p.write(`{"type":"register","address":"news.x"}`)
		s.registered(t, 1)
		const n = 500
		body := strings.Repeat("x", 10<<10)
		var publisher sync.WaitGroup
		var ended atomic.Bool
		publisher.Go(func() {
			for i := range n {
				if err := s.eb.Publish(t.Context(), "news.x", fmt.Sprint(i, body)); err != nil {
					t.Error(err)
				}
			}
			for !ended.Load() { // the others may have taken all room
				if err := s.eb.Publish(t.Context(), "news.x", "end"); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Millisecond)
			}
		})
		defer publisher.Wait()
		defer ended.Store(true)
		missed, before := uint64(0), -1
		for {
			var m struct{ Body string }
			got := p.read()
			if err := json.Unmarshal([]byte(got), &m); err != nil {
				t.Fatalf("after %d: %v in %.80s", before, err, got)
			}
			if m.Body == "end" {
				missed += uint64(n - 1 - before)
				break
			}
			i, err := strconv.Atoi(strings.TrimRight(m.Body, "x"))
			if err != nil || i <= before {
				t.Fatalf("after %d came %.80s", before, got)
			}
			missed += uint64(i - before - 1)
			before = i
		}
		if counted := s.bridge.Stats().Skipped + s.eb.Stats().Skipped; counted < missed {
			t.Errorf("it missed %d, of which %d are counted", missed, counted)
		}
	})
}

// A client that never reads is skipped, and cut in the end; others hear all, and those that
// publish wait for it once.
func TestSharedWithOneThatDoesNotRead(t *testing.T) {
	t.Parallel()
	overAll(t, bridge.Config{Rules: news, Limits: bridge.Limits{Write: time.Second, PingTimeout: -1}}, func(t *testing.T, s *setup, tr string) {
		deaf, good := s.dial(tr), s.dial(tr)
		for _, p := range []peer{deaf, good} {
			p.write(`{"type":"register","address":"news.x"}`)
		}
		s.registered(t, 2)
		body := strings.Repeat("x", 100<<10)
		want := flavour(tr, `{"type":"message","address":"news.x","headers":{},"body":"`+body+`","send":false}`)
		for range 100 { // 10 MB, more than sockets hold
			publishToAll(t, s.eb, "news.x", body)
			if got := good.read(); !same(got, want) {
				t.Fatalf("the other client read %.80s", got)
			}
		}
		if st := s.bridge.Stats(); st.Skipped == 0 && st.Slow == 0 {
			t.Errorf("nothing was skipped: %+v", st)
		}
		within(t, "cut", func() bool { st := s.bridge.Stats(); return st.Clients == 1 && st.Slow == 1 && st.Consumers == 1 })
	})
}

// A hook that ends its goroutine ends the connection, and no other; the last event of each
// client is that it is closed.
func TestSharedHookEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	last := map[*bridge.Client]bridge.Kind{}
	note := func(c *bridge.Client, k bridge.Kind) {
		mu.Lock()
		defer mu.Unlock()
		if last[c] == bridge.Closed {
			t.Errorf("%s after the client was closed", k)
		}
		last[c] = k
	}
	eb := bustest.NewBus(t)
	s := newSetup(t, eb, bridge.Config{
		Rules: news,
		Authorize: func(_ context.Context, c *bridge.Client, e *bridge.Event) error {
			note(c, e.Kind)
			if e.Kind == bridge.Receive && c.Transport == "sockjs" {
				runtime.Goexit()
			}
			return nil
		},
		Notify: func(c *bridge.Client, e bridge.Event) { note(c, e.Kind) },
	})
	bad, good := s.dial("sockjs"), s.dial("tcp")
	for _, p := range []peer{bad, good} {
		p.write(`{"type":"register","address":"news.x"}`)
	}
	s.registered(t, 2)
	for range 3 {
		if err := eb.Publish(t.Context(), "news.x", 1); err != nil {
			t.Fatal(err)
		}
		expect(t, good, `{"type":"message","address":"news.x","headers":{},"body":1,"send":false}`)
	}
	if got := bad.read(); got != "" {
		t.Errorf("read %s", got)
	}
	within(t, "closed", func() bool { return s.bridge.Stats().Clients == 1 })
}

// Clients come, go and are cut while much is published: each hears what comes in order, and
// nothing is left.
func TestSharedChurn(t *testing.T) {
	t.Parallel()
	eb := bustest.NewBus(t)
	s := newSetup(t, eb, bridge.Config{Rules: news, Limits: bridge.Limits{Outbox: 4 << 10}})
	stop := make(chan struct{})
	var wg, publisher sync.WaitGroup
	publisher.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := eb.Publish(t.Context(), "news.x", i); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 12 {
		wg.Go(func() {
			for range 10 {
				p := s.dial(transports[i%3])
				p.write(`{"type":"register","address":"news.x"}`)
				before := -1
				for range 5 {
					var m struct{ Body int }
					if got := p.read(); json.Unmarshal([]byte(got), &m) != nil || m.Body <= before {
						t.Errorf("after %d came %s", before, got)
					}
					before = m.Body
				}
				if i%2 == 0 {
					p.write(`{"type":"unregister","address":"news.x"}`)
				}
				p.close()
			}
		})
	}
	wg.Wait()
	close(stop)
	publisher.Wait()
	within(t, "nothing is left", func() bool { return s.bridge.Stats().Clients == 0 && at(eb, "news.x").Consumers == 0 })
}
