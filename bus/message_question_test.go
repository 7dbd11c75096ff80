package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// unanswered reports whether a question was answered with CodeUnanswered.
func unanswered(err error) bool {
	var no *bus.ReplyError
	return errors.As(err, &no) && no.Code == bus.CodeUnanswered
}

// A reply to a reply, and so on: each side asks back several times, with small
// and large bodies and with headers, and each answer reaches the one who asked.
func TestConversation(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "large": 200 << 10} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, p pair) {
				const hops = 6
				body := func(n int) []byte { return append(noise(size, uint64(n)), byte(n)) }
				check := func(m *bus.Message, n int) {
					t.Helper()
					if !bytes.Equal(m.Body, body(n)) || n > 0 && m.Header().Get("n") != fmt.Sprint(n) {
						t.Errorf("message %d: %d bytes, headers %v", n, len(m.Body), m.Header())
					}
				}
				// talk goes on with a conversation whose message n has come.
				talk := func(ctx context.Context, m *bus.Message, n int) error {
					for ; ; n += 2 {
						check(m, n)
						with := bus.WithHeader("n", fmt.Sprint(n+1))
						if n+1 == hops {
							if !m.WantsReply() {
								t.Errorf("message %d wants no reply", n)
							}
							return m.Reply(ctx, body(n+1), with)
						}
						var err error
						if m, err = m.Request(ctx, body(n+1), with); err != nil {
							return err
						}
						if n+2 == hops {
							check(m, hops)
							if m.WantsReply() || m.Reply(ctx, nil) == nil {
								t.Error("the last word wants a reply")
							}
							return nil
						}
					}
				}
				consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error { return talk(ctx, m, 0) })
				for range 3 {
					m, err := p.from.Request(t.Context(), "a", body(0))
					if err == nil {
						if m.Address() != "" || p.linked && (m.From() != "n1" || m.Via() != bus.ViaLink) {
							t.Errorf("a question at %q from %q via %v", m.Address(), m.From(), m.Via())
						}
						err = talk(t.Context(), m, 1)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				atRest(t, p.from, p.to)
			})
		})
	}
}

// asksBack makes the consumer of "a" ask back with ctx, and tells what comes of it.
func asksBack(t *testing.T, p pair, ctx func() context.Context, body any) <-chan error {
	t.Helper()
	got := make(chan error, 1)
	consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
		_, err := m.Request(ctx(), body)
		got <- err
		return nil
	}, bus.WithConcurrency(8))
	return got
}

// Each question has a deadline of its own: that of its context, else 30 s, from
// the moment that it is asked; the one who holds it is told when it is over.
func TestQuestionHasADeadlineOfItsOwn(t *testing.T) {
	for limit, set := range map[time.Duration]bool{2 * time.Second: true, 30 * time.Second: false} {
		t.Run(limit.String(), func(t *testing.T) {
			everywhere(t, func(t *testing.T, p pair) {
				got := asksBack(t, p, func() context.Context {
					time.Sleep(time.Second)
					if !set {
						return context.Background()
					}
					ctx, cancel := context.WithTimeout(context.Background(), limit)
					t.Cleanup(cancel)
					return ctx
				}, "which?")
				ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
				defer cancel()
				q, err := p.from.Request(ctx, "a", nil)
				if err != nil {
					t.Fatal(err)
				}
				over := func(err error) bool { // whose deadline may end a little before the holder's
					return errors.Is(err, context.DeadlineExceeded) || p.linked && errors.Is(err, context.Canceled)
				}
				asked := time.Now()
				if err := receiveWithin(t, got, time.Minute); !errors.Is(err, context.DeadlineExceeded) || unanswered(err) {
					t.Errorf("the asker got %v", err)
				}
				if took := time.Since(asked); took < limit-5*time.Millisecond || took > limit+10*time.Millisecond {
					t.Errorf("it ended after %v", took)
				}
				time.Sleep(10 * time.Millisecond)
				if err := q.Reply(t.Context(), "red"); !over(err) {
					t.Errorf("answered too late: %v", err)
				}
				if _, err := q.Request(t.Context(), "red?"); !over(err) {
					t.Errorf("asked back too late: %v", err)
				}
			})
		})
	}
}

// A question may live longer than the request that it answers had left, small or
// large.
func TestQuestionOutlivesItsRequest(t *testing.T) {
	for name, body := range map[string]any{"small": "which?", "large": make([]byte, 100<<10)} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, p pair) {
				got := asksBack(t, p, context.Background, body)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				q, err := p.from.Request(ctx, "a", nil)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				if err := q.Reply(t.Context(), body); err != nil {
					t.Error(err)
				}
				if err := receive(t, got); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A large question that the requester's node does not take, or that its asker takes
// back, leaves the request to be answered otherwise.
func TestLargeQuestionTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bus.New(quiet, bus.WithBodyLimit(1<<20)), bus.New(quiet)
		narrow(t, 96<<10, a, b)
		far[0].SetDelay(func() time.Duration { return 100 * time.Millisecond })
		consume(t, b, "a", func(ctx context.Context, m *bus.Message) error {
			if _, err := m.Request(ctx, make([]byte, 2<<20)); !errors.Is(err, bus.ErrTooLarge) || !m.WantsReply() {
				t.Errorf("over the limit: %v", err)
			}
			short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			if _, err := m.Request(short, make([]byte, 1<<20)); !errors.Is(err, bus.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) || !m.WantsReply() {
				t.Errorf("given up: %v", err)
			}
			x, err := m.Request(ctx, make([]byte, 100<<10))
			if err != nil {
				return err
			}
			return x.Reply(ctx, x.Body)
		})
		q, err := a.Request(t.Context(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		last, err := q.Request(t.Context(), []byte("x"))
		if err != nil || len(q.Body) != 100<<10 || string(last.Body) != "x" {
			t.Errorf("%v", err)
		}
		atRest(t, a, b)
	})
}

// One who holds a question learns that its asker has given up.
func TestAskerGivesUp(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		ctx, cancel := context.WithCancel(t.Context())
		got := asksBack(t, p, func() context.Context { return ctx }, "which?")
		q, err := p.from.Request(t.Context(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := receive(t, got); !errors.Is(err, context.Canceled) {
			t.Errorf("the asker got %v", err)
		}
		synctest.Wait()
		if err := q.Reply(t.Context(), "red"); !errors.Is(err, context.Canceled) {
			t.Errorf("answered: %v", err)
		}
		begin := time.Now()
		if err := p.from.Close(); err != nil || time.Since(begin) > time.Second {
			t.Errorf("left after %v: %v", time.Since(begin), err)
		}
	})
}

// A question to a requester that has given up, or whose deadline is over, is
// answered at once; so is one that is large.
func TestLateQuestionIsAnsweredAtOnce(t *testing.T) {
	for name, body := range map[string]any{"small": "which?", "large": make([]byte, 1<<20)} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, p pair) {
				gone := make(chan struct{})
				got := asksBack(t, p, func() context.Context { <-gone; return context.Background() }, body)
				for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					defer cancel()
					if want == context.Canceled {
						time.AfterFunc(time.Second, cancel)
					}
					if _, err := p.from.Request(ctx, "a", nil); !errors.Is(err, want) {
						t.Fatalf("the requester got %v, not %v", err, want)
					}
					begin := time.Now()
					gone <- struct{}{}
					if err := receive(t, got); !unanswered(err) || time.Since(begin) > 0 {
						t.Errorf("after %v the asker got %v", time.Since(begin), err)
					}
				}
				if s := p.from.Stats(); s.LateReplies != 2 {
					t.Errorf("%d late replies", s.LateReplies)
				}
				atRest(t, p.from, p.to)
			})
		})
	}
}

// The generic Request cannot answer: its question is answered at once, and its
// caller gets an error.
func TestQuestionToGenericRequestIsAnsweredAtOnce(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		got := asksBack(t, p, context.Background, "which?")
		begin := time.Now()
		s, err := bus.Request[string](t.Context(), p.from, "a", nil)
		if err == nil || s != "" || unanswered(err) || !strings.Contains(err.Error(), "asked back") {
			t.Errorf("the requester got %q, %v", s, err)
		}
		if err := receive(t, got); !unanswered(err) || time.Since(begin) > 0 {
			t.Errorf("after %v the asker got %v", time.Since(begin), err)
		}
	})
}

// A question ends with its link, at once, for both sides.
func TestQuestionEndsWithItsLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		got := asksBack(t, pair{from: c.Bus(0), to: c.Bus(1)}, context.Background, "which?")
		q, err := c.Bus(0).Request(t.Context(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		c.Break(0, 1)
		if err := receive(t, got); !errors.Is(err, bus.ErrLinkLost) || time.Since(begin) > 10*time.Millisecond {
			t.Errorf("after %v the asker got %v", time.Since(begin), err)
		}
		if err := q.Reply(t.Context(), "red"); !errors.Is(err, bus.ErrLinkLost) {
			t.Errorf("answered: %v", err)
		}
		c.Link(0, 1) // what ended does not go on over the next link
		if _, err := q.Request(t.Context(), "red?"); err == nil {
			t.Error("asked back over a link that has ended")
		}
		// A request that is under way on a link that has ended cannot be answered by a question.
		block := make(chan struct{})
		consume(t, c.Bus(1), "b", func(_ context.Context, m *bus.Message) error {
			<-block
			_, err := m.Request(context.Background(), nil)
			if !errors.Is(err, bus.ErrLinkLost) {
				t.Errorf("asked when the link was gone: %v", err)
			}
			close(block)
			return nil
		})
		go func() { _, _ = c.Bus(0).Request(context.Background(), "b", nil) }()
		synctest.Wait()
		c.Break(0, 1)
		block <- struct{}{}
		<-block
	})
}

// A request is answered once, by a reply or by a question; what is no request by
// neither. An error of the arguments leaves it unanswered.
func TestQuestionsOutOfPlace(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		done := make(chan struct{})
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			defer close(done)
			for name, f := range map[string]func() error{
				"body":     func() error { _, err := m.Request(ctx, make(chan int)); return err },
				"option":   func() error { _, err := m.Request(ctx, nil, bus.LocalOnly()); return err },
				"nil":      func() error { _, err := m.Request(ctx, nil, nil); return err },
				"header":   func() error { _, err := m.Request(ctx, nil, bus.WithHeader("k", "\xff")); return err },
				"size":     func() error { _, err := m.Request(ctx, make([]byte, 16<<20+1)); return err },
				"canceled": func() error { _, err := m.Request(ended, nil); return err },
			} {
				if err := f(); err == nil || !m.WantsReply() {
					t.Errorf("%s: %v, still a request: %v", name, err, m.WantsReply())
				}
			}
			if _, err := m.Request(ctx, "which?"); err != nil {
				t.Error(err)
			}
			if _, err := m.Request(ctx, "again"); err == nil || m.WantsReply() {
				t.Errorf("asked twice: %v", err)
			}
			if err := m.Reply(ctx, nil); err == nil {
				t.Error("replied after a question")
			}
			return errors.New("which nobody hears")
		})
		q, err := p.from.Request(t.Context(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Reply(t.Context(), "red"); err != nil || q.WantsReply() {
			t.Errorf("answered: %v", err)
		}
		if _, err := q.Request(t.Context(), "red?"); err == nil {
			t.Error("asked back after the answer")
		}
		receive(t, done)

		got := make(chan *bus.Message, 1)
		consume(t, p.to, "b", func(_ context.Context, m *bus.Message) error { got <- m; return nil })
		for _, call := range []func(context.Context, string, any, ...bus.CallOption) error{p.from.Send, p.from.Publish} {
			if err := call(t.Context(), "b", nil); err != nil {
				t.Fatal(err)
			}
			if _, err := receive(t, got).Request(t.Context(), nil); err == nil {
				t.Error("asked one who waits for nothing")
			}
		}
	})
}

// A question may be answered by an error too: by a handler that passes it on.
func TestQuestionWithinAHandler(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		consume(t, p.to, "colour", func(ctx context.Context, m *bus.Message) error {
			a, err := m.Request(ctx, "which?")
			if err != nil {
				return err
			}
			return a.Reply(ctx, "your "+string(a.Body))
		})
		consume(t, p.from, "outer", func(ctx context.Context, m *bus.Message) error {
			q, err := p.from.Request(ctx, "colour", nil)
			if err != nil {
				return err
			}
			last, err := q.Request(ctx, []byte("red"))
			if err != nil {
				return err
			}
			return m.Reply(ctx, last.Body)
		})
		m, err := p.to.Request(t.Context(), "outer", nil)
		if err != nil || string(m.Body) != `"your red"` {
			t.Errorf("%v, %v", m, err)
		}
	})
}
