package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// answering registers a consumer that answers with its name, after a while.
func answering(t *testing.T, eb *bus.EventBus, name string, after time.Duration, opts ...bus.ConsumeOption) *bus.Consumer {
	t.Helper()
	return consume(t, eb, "a", func(ctx context.Context, m *bus.Message) error {
		time.Sleep(after)
		return m.Reply(ctx, name+m.Header().Get("k"))
	}, opts...)
}

// names decodes replies.
func names(t *testing.T, replies []*bus.Message) (names []string) {
	t.Helper()
	for _, m := range replies {
		var s string
		if err := m.Decode(&s); err != nil {
			t.Error(err)
		}
		names = append(names, s)
	}
	return names
}

// RequestAll asks each consumer once, on all nodes, and returns the replies as
// they come; LocalOnly asks those of this node.
func TestRequestAll(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "large": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := bustest.NewCluster(t, 3, quiet)
				answering(t, c.Bus(0), "0", 4*time.Second)
				answering(t, c.Bus(1), "1", 3*time.Second)
				answering(t, c.Bus(1), "1b", 1*time.Second)
				answering(t, c.Bus(2), "2", 2*time.Second)
				answering(t, c.Bus(0), "0b", 0, bus.LocalOnly())
				body := make([]byte, size)
				replies, err := c.Bus(0).RequestAll(t.Context(), "a", body, bus.WithHeader("k", "!"))
				if got := names(t, replies); err != nil || fmt.Sprint(got) != "[0b! 1b! 2! 1! 0!]" {
					t.Errorf("%v, %v", got, err)
				}
				begin := time.Now()
				replies, err = c.Bus(0).RequestAll(t.Context(), "a", body, bus.LocalOnly())
				if got := names(t, replies); err != nil || fmt.Sprint(got) != "[0b 0]" || time.Since(begin) != 4*time.Second {
					t.Errorf("local ones: %v, %v, after %v", got, err, time.Since(begin))
				}
				replies, err = c.Bus(2).RequestAll(t.Context(), "a", body)
				if got := names(t, replies); err != nil || fmt.Sprint(got) != "[1b 2 1 0]" {
					t.Errorf("from n2: %v, %v", got, err)
				}
			})
		})
	}
}

// Without a consumer that may be asked RequestAll says so.
func TestRequestAllOfNobody(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		if _, err := p.from.RequestAll(t.Context(), "a", nil); !errors.Is(err, bus.ErrNoConsumer) {
			t.Error(err)
		}
		consume(t, p.to, "a", nothing)
		if _, err := p.from.RequestAll(t.Context(), "a", nil, bus.LocalOnly()); p.linked && !errors.Is(err, bus.ErrNoConsumer) {
			t.Error(err)
		}
		p.from.Close()
		if _, err := p.from.RequestAll(t.Context(), "a", nil); !errors.Is(err, bus.ErrClosed) {
			t.Error(err)
		}
	})
}

// What fails is in the error, by node, beside the replies; when ctx ends, so do the
// handlers' contexts.
func TestRequestAllErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 4, quiet)
		answering(t, c.Bus(0), "0", 0)
		consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { return &bus.ReplyError{Code: 7, Message: "no"} })
		canceled := make(chan error, 1)
		consume(t, c.Bus(2), "a", func(ctx context.Context, m *bus.Message) error {
			<-ctx.Done()
			canceled <- ctx.Err()
			return nil
		})
		block := make(chan struct{})
		defer close(block)
		consume(t, c.Bus(3), "a", func(context.Context, *bus.Message) error { <-block; return nil })
		time.AfterFunc(time.Second, func() { c.Break(0, 3) })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(2*time.Second, cancel)
		replies, err := c.Bus(0).RequestAll(ctx, "a", nil)
		if got := names(t, replies); fmt.Sprint(got) != "[0]" {
			t.Errorf("replies: %v", got)
		}
		var no *bus.ReplyError
		if !errors.As(err, &no) || no.Code != 7 || !errors.Is(err, context.Canceled) || !errors.Is(err, bus.ErrLinkLost) {
			t.Errorf("the error is %v", err)
		}
		lines := strings.Split(err.Error(), "\n")
		if slices.Sort(lines); len(lines) != 3 || !strings.HasPrefix(lines[0], "consumer on n1: ") || !strings.HasPrefix(lines[1], "consumer on n2: ") || !strings.HasPrefix(lines[2], "consumer on n3: ") {
			t.Errorf("the error is %q", lines)
		}
		if err := receive(t, canceled); !errors.Is(err, context.Canceled) {
			t.Errorf("the handler's context ended with %v", err)
		}
	})
}

// Without a deadline of its own RequestAll ends after 30 s; no consumer's wait for
// room is longer.
func TestRequestAllTakes30s(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		block := make(chan struct{})
		defer close(block)
		for i := range 2 {
			consume(t, c.Bus(i), "a", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(1<<10))
			if err := c.Bus(i).Send(t.Context(), "a", make([]byte, 1<<10), bus.LocalOnly()); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		_, err := c.Bus(0).RequestAll(context.Background(), "a", nil)
		if took := time.Since(begin); took != 30*time.Second || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, bus.ErrBusy) {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// A consumer that closes before it has begun with its request fails, at once, and
// nobody answers in its place: not while the request waits there, nor while it waits
// for room, nor half way of a large body. One that has begun answers.
func TestRequestAllClosing(t *testing.T) {
	for name, size := range map[string]int{"small": 600, "large": 200 << 10} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, p pair) {
				block := make(chan struct{})
				var asked atomic.Int32
				handler := func(context.Context, *bus.Message) error { asked.Add(1); <-block; return nil }
				consume(t, p.to, "a", handler)
				waits := consume(t, p.to, "a", handler)
				full := consume(t, p.to, "a", handler, bus.WithWindow(1<<10))
				first := make(chan error, 1)
				go func() { // all begin with this one
					replies, err := p.from.RequestAll(t.Context(), "a", make([]byte, 2000))
					if len(replies) != 3 {
						err = fmt.Errorf("%d of 3 replies: %w", len(replies), err)
					}
					first <- err
				}()
				synctest.Wait()
				asked.Store(0)
				type result struct {
					replies []*bus.Message
					err     error
				}
				done := make(chan result, 1)
				go func() {
					replies, err := p.from.RequestAll(t.Context(), "a", make([]byte, size))
					done <- result{replies, err}
				}()
				synctest.Wait()
				waits.Close()
				full.Close()
				synctest.Wait()
				consume(t, p.to, "a", handler)
				close(block)
				begin := time.Now()
				r := receive(t, done)
				lines := strings.Split(fmt.Sprint(r.err), "\n")
				if len(r.replies) != 1 || !errors.Is(r.err, bus.ErrClosed) || len(lines) != 2 || time.Since(begin) > time.Second {
					t.Errorf("%d replies after %v: %q", len(r.replies), time.Since(begin), lines)
				}
				if err := receive(t, first); err != nil {
					t.Errorf("of those that had begun: %v", err)
				}
				if n := asked.Load(); n != 1 {
					t.Errorf("%d were asked by the end", n)
				}
				if s := p.from.Stats(); s.DeadLetters > 0 || s.Rerouted > 0 {
					t.Errorf("%+v", s)
				}
				atRest(t, p.from, p.to)
			})
		})
	}
}

// A consumer in the caller's own scope cannot answer: its request says so, others do.
func TestRequestAllOwnScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		answering(t, eb, "other", 0)
		s := eb.Scope()
		consume(t, s, "a", nothing)
		if err := s.Do(t.Context(), func(ctx context.Context) error {
			replies, err := s.RequestAll(ctx, "a", nil)
			if got := names(t, replies); fmt.Sprint(got) != "[other]" || !errors.Is(err, bus.ErrDeadlock) {
				t.Errorf("%v, %v", got, err)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}

// A request that waits for room fails at once when its consumer closes, or its
// link ends.
func TestRequestAllWaitsInVain(t *testing.T) {
	for name, end := range map[string]struct {
		end  func(*bustest.Cluster, *bus.Consumer)
		want error
	}{
		"closed":    {func(_ *bustest.Cluster, cn *bus.Consumer) { cn.Close() }, bus.ErrClosed},
		"left":      {func(c *bustest.Cluster, _ *bus.Consumer) { go c.Bus(1).Close() }, bus.ErrClosed},
		"link lost": {func(c *bustest.Cluster, _ *bus.Consumer) { c.Break(0, 1) }, bus.ErrLinkLost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := bustest.NewCluster(t, 2, quiet)
				block := make(chan struct{})
				defer close(block)
				cn := consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(1<<10))
				if err := c.Bus(0).Send(t.Context(), "a", make([]byte, 1<<10)); err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() { _, err := c.Bus(0).RequestAll(t.Context(), "a", nil); done <- err }()
				synctest.Wait()
				begin := time.Now()
				end.end(c, cn)
				if err := receive(t, done); !errors.Is(err, end.want) || time.Since(begin) > time.Second {
					t.Errorf("after %v: %v", time.Since(begin), err)
				}
			})
		})
	}
}

// Outbound interceptors are around the whole of a RequestAll.
func TestRequestAllIsIntercepted(t *testing.T) {
	var verbs []string
	drop := false
	eb := bus.New(quiet, bus.WithOutbound(func(next bus.Caller) bus.Caller {
		return func(ctx context.Context, call *bus.Call) (*bus.Message, error) {
			if verbs = append(verbs, call.Verb); drop {
				return nil, nil
			}
			call.Body = "changed"
			return next(ctx, call)
		}
	}))
	defer eb.Close()
	for range 2 {
		consume(t, eb, "a", func(_ context.Context, m *bus.Message) error {
			var s string
			if err := m.Decode(&s); err != nil || s != "changed" {
				t.Errorf("%q, %v", s, err)
			}
			return nil
		})
	}
	if all, err := eb.RequestAll(t.Context(), "a", "as it was"); err != nil || len(all) != 2 {
		t.Errorf("%d replies, %v", len(all), err)
	}
	drop = true
	if all, err := eb.RequestAll(t.Context(), "a", nil); err != nil || len(all) != 0 {
		t.Errorf("dropped: %d replies, %v", len(all), err)
	}
	if !slices.Equal(verbs, []string{bus.VerbRequestAll, bus.VerbRequestAll}) {
		t.Errorf("verbs %v", verbs)
	}
}
