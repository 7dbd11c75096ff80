package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

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
