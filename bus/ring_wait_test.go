package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// crowd is a consumer that has no room, on node 1 of a cluster or on node 0 itself.
type crowd struct {
	*bustest.Cluster
	consumer *bus.Consumer
	at       int
}

// crowded registers a consumer at the address and leaves it without room for what
// node 0 sends.
func crowded(t *testing.T, c *bustest.Cluster, at int, opts ...bus.ConsumeOption) *crowd {
	t.Helper()
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	held := func(context.Context, *bus.Message) error { <-block; return nil }
	cn := consume(t, c.Bus(at), "a", held, append(opts, bus.WithWindow(1<<10))...)
	if err := c.Bus(0).Send(t.Context(), "a", make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return &crowd{c, cn, at}
}

// A call that waits for room is told at once when no consumer is left: whichever
// call, wherever the consumer was, and however it went.
func TestWaiterIsToldThatNobodyIsLeft(t *testing.T) {
	calls := map[string]func(ctx context.Context, eb *bus.EventBus) error{
		"Send":       func(ctx context.Context, eb *bus.EventBus) error { return eb.Send(ctx, "a", nil) },
		"Request":    func(ctx context.Context, eb *bus.EventBus) error { _, err := eb.Request(ctx, "a", nil); return err },
		"large":      func(ctx context.Context, eb *bus.EventBus) error { return eb.Send(ctx, "a", make([]byte, 100<<10)) },
		"ByKey":      func(ctx context.Context, eb *bus.EventBus) error { return eb.Send(ctx, "a", nil, bus.ByKey("k")) },
		"RequestAll": func(ctx context.Context, eb *bus.EventBus) error { _, err := eb.RequestAll(ctx, "a", nil); return err },
		"LocalOnly": func(ctx context.Context, eb *bus.EventBus) error {
			_, err := eb.Request(ctx, "a", nil, bus.LocalOnly())
			return err
		},
	}
	ways := map[string]func(*crowd){
		"consumer closes": func(c *crowd) { c.consumer.Close() },
		"node leaves":     func(c *crowd) { go c.Bus(1).Close() },
		"link breaks":     func(c *crowd) { c.Break(0, 1) },
	}
	for name, call := range calls {
		for way, goes := range ways {
			for at, where := range []string{"local", "linked"} {
				if at == 0 && way != "consumer closes" || at == 1 && name == "LocalOnly" {
					continue
				}
				t.Run(name+"/"+way+"/"+where, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						c := crowded(t, bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(time.Second)), at)
						ended := make(chan error, 1)
						go func() { ended <- call(context.Background(), c.Bus(0)) }()
						synctest.Wait()
						begin := time.Now()
						goes(c)
						err := <-ended
						if took := time.Since(begin); took > 10*time.Millisecond {
							t.Errorf("told after %v", took)
						}
						want := errors.Is(err, bus.ErrNoConsumer)
						if name == "RequestAll" { // asked of that consumer
							want = errors.Is(err, bus.ErrClosed) || errors.Is(err, bus.ErrLinkLost)
						}
						if !want {
							t.Error(err)
						}
					})
				})
			}
		}
	}
}

// A waiter whose choice leaves it nobody is told, though the address has other
// consumers; one that another could serve waits on.
func TestWaiterIsToldWhenItsChoiceIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(time.Second))
		own := crowded(t, c, 0)
		other := consume(t, c.Bus(1), "a", nothing, bus.WithWindow(1<<10))
		other.Pause()
		for range 2 { // one is for whom the turn takes it to
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = c.Bus(0).Send(ctx, "a", make([]byte, 2000))
			cancel()
		}
		local, any := make(chan error, 1), make(chan error, 1)
		go func() { local <- c.Bus(0).Send(t.Context(), "a", nil, bus.LocalOnly()) }()
		go func() { any <- c.Bus(0).Send(t.Context(), "a", nil) }()
		synctest.Wait()
		own.consumer.Close()
		synctest.Wait()
		if len(local) == 0 || len(any) > 0 {
			t.Fatalf("told were %d of 1 that wanted this node, and %d of 1 that did not care", len(local), len(any))
		}
		if err := <-local; !errors.Is(err, bus.ErrNoConsumer) {
			t.Error(err)
		}
		other.Resume()
		if err := receive(t, any); err != nil {
			t.Error(err)
		}
	})
}

// A handler that waits for room, or whose request was sent back, is told when only
// its own scope could still take it.
func TestWaiterIsToldOfDeadlock(t *testing.T) {
	for _, name := range []string{"Send", "Request", "sent back"} {
		for at, where := range []string{"local", "linked"} {
			t.Run(name+"/"+where, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(time.Second))
					own := c.Bus(0).Scope()
					ended := make(chan error, 1)
					consume(t, own, "b", func(ctx context.Context, _ *bus.Message) (err error) {
						if name == "Send" {
							err = c.Bus(0).Send(ctx, "a", nil)
						} else {
							_, err = c.Bus(0).Request(ctx, "a", nil)
						}
						ended <- err
						return nil
					})
					mine := consume(t, own, "a", nothing, bus.WithWindow(1<<10))
					mine.Pause()
					if err := c.Bus(0).Send(t.Context(), "a", make([]byte, 2000)); err != nil { // for a Send, it has no room either
						t.Fatal(err)
					}
					block := make(chan struct{})
					defer close(block)
					held := func(context.Context, *bus.Message) error { <-block; return nil }
					closing := []*bus.Consumer{consume(t, c.Bus(at), "a", held, bus.WithWindow(1<<10))}
					body := make([]byte, 2000)
					if name == "sent back" {
						body = body[:880] // the request fits in behind it, and nothing else does
					}
					if err := c.Bus(0).Send(t.Context(), "a", body); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					if err := c.Bus(0).Send(t.Context(), "b", nil); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					if name == "sent back" {
						closing = append(closing, crowded(t, c, at).consumer)
					}
					begin := time.Now()
					for _, cn := range closing {
						if len(ended) > 0 {
							t.Errorf("told too early: %v", <-ended)
						}
						cn.Close()
						synctest.Wait()
					}
					err := receive(t, ended)
					if took := time.Since(begin); took > 10*time.Millisecond || !errors.Is(err, bus.ErrDeadlock) {
						t.Errorf("after %v: %v", took, err)
					}
				})
			})
		}
	}
}

// A wait that ends with an error leaves no address behind.
func TestWaitersLeaveNoAddress(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		block := make(chan struct{})
		held := func(context.Context, *bus.Message) error { <-block; return nil }
		for _, address := range []string{"one", "two"} {
			cn := consume(t, p.to, address, held, bus.WithWindow(1<<10))
			if err := p.from.Send(t.Context(), address, make([]byte, 2000)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			ended := make(chan error, 2)
			go func() { _, err := p.from.RequestAll(context.Background(), address, nil); ended <- err }()
			go func() { ended <- p.from.Send(context.Background(), address, nil) }()
			synctest.Wait()
			cn.Close()
			<-ended
			<-ended
		}
		close(block)
		time.Sleep(time.Minute)
		for _, a := range p.from.Addresses() {
			if a.Address != "" {
				t.Errorf("%q is still known", a.Address)
			}
		}
	})
}
