package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
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

// receiveWithin is receive within a time of its own.
func receiveWithin[T any](t *testing.T, c <-chan T, limit time.Duration) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(limit):
		t.Fatalf("nothing came within %v", limit)
	}
	return v
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

// A conversation that has begun goes on to its end while either side leaves, and
// while both do.
func TestConversationGoesOnWhileLeaving(t *testing.T) {
	for name, leavers := range map[string][]int{"requester": {0}, "consumer": {1}, "both": {0, 1}} {
		for _, body := range [][]byte{[]byte("small"), make([]byte, 100<<10)} {
			t.Run(fmt.Sprintf("%s, %d bytes", name, len(body)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := bustest.NewCluster(t, 2, quiet)
					const rounds = 3
					consume(t, c.Bus(1), "a", func(ctx context.Context, m *bus.Message) (err error) {
						for range rounds {
							if m, err = m.Request(context.Background(), body); err != nil {
								t.Errorf("consumer: %v", err)
								return err
							}
						}
						if !m.WantsReply() {
							t.Error("nobody waits for the last word")
						}
						return m.Reply(ctx, body)
					})
					m, err := c.Bus(0).Request(t.Context(), "a", nil)
					if err != nil {
						t.Fatal(err)
					}
					var wg sync.WaitGroup
					begin := time.Now()
					for _, i := range leavers {
						wg.Go(func() {
							if err := c.Bus(i).Close(); err != nil {
								t.Errorf("n%d: %v", i, err)
							}
						})
					}
					for range rounds {
						time.Sleep(time.Second) // not in a handler: nothing but the question holds up the leave
						if m, err = m.Request(t.Context(), body); err != nil {
							t.Fatalf("requester: %v", err)
						}
					}
					if m.WantsReply() || !bytes.Equal(m.Body, body) {
						t.Errorf("the last word has %d bytes", len(m.Body))
					}
					wg.Wait()
					if took := time.Since(begin); took > rounds*time.Second+500*time.Millisecond {
						t.Errorf("leaving took %v", took)
					}
				})
			})
		}
	}
}

// A leave waits for a question whose asker's handler has returned, too: nothing but
// the question is under way then.
func TestLeaveWaitsForQuestionOfAHandlerThatHasReturned(t *testing.T) {
	for name, leaver := range map[string]int{"requester": 0, "consumer": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := bustest.NewCluster(t, 2, quiet)
				got := make(chan error, 1)
				consume(t, c.Bus(1), "a", func(ctx context.Context, m *bus.Message) error {
					x, err := m.Request(ctx, "first")
					go func() { // ends with its question
						_, err := x.Request(context.Background(), "second")
						got <- err
					}()
					return err
				})
				q, err := c.Bus(0).Request(t.Context(), "a", nil)
				if err != nil {
					t.Fatal(err)
				}
				if q, err = q.Request(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // all else is settled
				left := make(chan error, 1)
				go func() { left <- c.Bus(leaver).Close() }()
				time.Sleep(time.Second)
				if err := q.Reply(t.Context(), nil); err != nil {
					t.Errorf("answered: %v", err)
				}
				if err := receive(t, got); err != nil {
					t.Errorf("the asker got %v", err)
				}
				if err := receive(t, left); err != nil {
					t.Errorf("left: %v", err)
				}
			})
		})
	}
}

// A question that nobody answers holds up a leave to its deadline, not longer.
func TestLeaveWaitsForQuestionToItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		got := asksBack(t, pair{from: c.Bus(0), to: c.Bus(1)}, func() context.Context { return ctx }, nil)
		if _, err := c.Bus(0).Request(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		err := c.Bus(0).Close()
		if took := time.Since(begin); err != nil || took < 2*time.Second || took > 3100*time.Millisecond {
			t.Errorf("left after %v: %v", took, err)
		}
		if err := receive(t, got); err == nil {
			t.Error("somebody answered")
		}
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

// What a peer says that asks: a question is known by its id, its answer goes on
// the same link, a late one is answered at once, and its cancellation is heeded.
func TestQuestionsOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		reply := func(r *wire.Reply) *wire.Frame { return &wire.Frame{Kind: &wire.Frame_Reply{Reply: r}} }
		heard := make([]byte, 4<<10)
		read := func() []byte {
			n, err := p.Read(heard)
			if err != nil {
				t.Fatal(err)
			}
			return heard[:n]
		}
		p.say(routesFrame(1, true, nil, out(1, 1<<10)))
		type result struct {
			m   *bus.Message
			err error
		}
		got := make(chan result, 1)
		request := func() uint64 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			go func() { defer cancel(); m, err := p.eb.Request(ctx, "out", nil); got <- result{m, err} }()
			synctest.Wait()
			return 1 << 24
		}
		id := request()
		read()
		p.say(reply(&wire.Reply{Id: id, Ask: 77, TimeLeft: 5000, Body: []byte("which?")}))
		q := receive(t, got)
		if q.err != nil || !q.m.WantsReply() || string(q.m.Body) != "which?" {
			t.Fatalf("%+v", q)
		}
		if err := q.m.Reply(t.Context(), []byte("red")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if b := read(); !bytes.Contains(b, stream(t, reply(&wire.Reply{Id: 77, Body: []byte("red")}))) {
			t.Errorf("the answer is %x", b)
		}

		p.say(reply(&wire.Reply{Id: id, Ask: 78, TimeLeft: 5000})) // the request has ended
		late := stream(t, reply(&wire.Reply{Id: 78, Failed: 1, Code: bus.CodeUnanswered, Body: []byte("the requester has given up")}))
		if b := read(); !bytes.Contains(b, late) {
			t.Errorf("a late question is answered with %x", b)
		}

		id = request() + 1<<24 // the next generation of its slot
		read()
		p.say(reply(&wire.Reply{Id: id, Ask: 79, TimeLeft: 5000}), &wire.Frame{Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Id: 79}}})
		q = receive(t, got)
		if q.err != nil {
			t.Fatal(q.err)
		}
		if err := q.m.Reply(t.Context(), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("a question that was given up: %v", err)
		}
		p.say(&wire.Frame{Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Id: 80}}}, pingFrame) // of nothing
		if len(p.eb.Peers()) != 1 {
			t.Error("the link has ended")
		}
		p.Reset()
	})
}

// A question leaves with its time left, and one whose asker gives up is canceled.
func TestQuestionsTimeLeftOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		if _, err := p.eb.Consume("in", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
			_, err := m.Request(ctx, []byte("which?"))
			return err
		})); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.say(routesFrame(1, true, nil), ackFrame(1), msgFrame(&wire.Msg{Kind: 2, Route: 1, Id: 5, TimeLeft: 60_000}))
		cancel()
		synctest.Wait()
		heard := make([]byte, 4<<10)
		n, _ := p.Read(heard)
		want := stream(t, &wire.Frame{Kind: &wire.Frame_Reply{Reply: &wire.Reply{Id: 5, Ask: 1 << 24, TimeLeft: 7000, Body: []byte("which?")}}},
			&wire.Frame{Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Id: 1 << 24}}})
		if !bytes.Contains(heard[:n], want) {
			t.Errorf("the peer reads %x, without %x", heard[:n], want)
		}
		p.Reset()
	})
}

// Conversations of many at once, with givings up at all times, over links whose
// frames cross, that break, and between nodes that leave: each call ends in time,
// and an answer is to the question that was asked.
func TestConversationsWithFaults(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { talkWithFaults(t, seed) })
		})
	}
}

func talkWithFaults(t *testing.T, seed uint64) {
	const nodes, limit = 3, 3 * time.Second
	c := bustest.NewCluster(t, nodes, quiet, bus.WithDrainTimeout(10*time.Second))
	rng := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	random := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
	for i := range nodes {
		for j := range nodes {
			if i != j {
				c.Conn(i, j).SetDelay(func() time.Duration { return time.Duration(random(4000)) * time.Microsecond })
			}
		}
	}
	// part is a conversation from the side of one who holds m, until it ends.
	part := func(m *bus.Message, said string) {
		for m.WantsReply() {
			time.Sleep(time.Duration(random(20)) * time.Millisecond)
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			if random(10) == 0 {
				time.AfterFunc(time.Duration(random(30))*time.Millisecond, cancel)
			}
			heard := string(m.Body[:min(len(m.Body), 20)])
			if said != "" && !strings.HasPrefix(heard, said) {
				t.Errorf("to %q the answer is %q", said, heard)
			}
			body := []byte(fmt.Sprintf("%s.%d", heard, random(1000)))[:min(20, len(heard)+2)]
			if random(8) == 0 {
				body = append(body, make([]byte, 70<<10)...)
			}
			begin := time.Now()
			if random(4) == 0 {
				_ = m.Reply(ctx, body)
				cancel()
				return
			}
			a, err := m.Request(ctx, body)
			cancel()
			if took := time.Since(begin); took > limit+time.Second {
				t.Errorf("a question took %v: %v", took, err)
			}
			if err != nil {
				return
			}
			m, said = a, string(body[:min(len(body), 20)])
		}
	}
	for i := range nodes {
		consume(t, c.Bus(i), "talk", func(_ context.Context, m *bus.Message) error { part(m, ""); return nil }, bus.WithConcurrency(64))
	}
	var wg sync.WaitGroup
	for g := range 30 {
		wg.Go(func() {
			for range 20 {
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				said := fmt.Sprintf("%d.", random(1000))
				m, err := c.Bus(g%nodes).Request(ctx, "talk", []byte(said))
				cancel()
				if err == nil {
					part(m, said)
				}
			}
		})
	}
	for k := range 4 {
		time.Sleep(time.Duration(random(100)) * time.Millisecond)
		i := k % 2
		c.Break(i, 2)
		c.Link(i, 2)
	}
	leaving := time.Now()
	if err := c.Bus(2).Close(); err != nil || time.Since(leaving) > 10*time.Second {
		t.Errorf("left after %v: %v", time.Since(leaving), err)
	}
	wg.Wait()
	time.Sleep(2 * limit) // for those who ask one who has gone away
	atRest(t, c.Bus(0), c.Bus(1), c.Bus(2))
}

// The same on real connections, for the race detector.
func TestConversationsWithRaces(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 2)
	for _, n := range nodes {
		c, err := n.Consume("talk", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			a, err := m.Request(context.Background(), m.Body)
			if err == nil && a.WantsReply() {
				return a.Reply(ctx, a.Body)
			}
			return err
		}), bus.WithConcurrency(16))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Known(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for k := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				give := k%5 == 0
				if give {
					time.AfterFunc(time.Duration(k)*5*time.Microsecond, cancel)
				}
				body := []byte(fmt.Sprint(g, " ", k))
				q, err := nodes[g%2].Request(ctx, "talk", body)
				var last *bus.Message
				if err == nil {
					last, err = q.Request(ctx, body)
				}
				cancel()
				if err != nil && !give || err == nil && !bytes.Equal(last.Body, body) {
					t.Errorf("%s: %v, %v", body, last, err)
				}
			}
		})
	}
	wg.Wait()
}
