package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

func repeatBack(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, m.Body) }

// awaiting are calls that wait for a consumer.
func awaiting(address string, opts ...bus.CallOption) map[string]func(context.Context, *bus.EventBus) error {
	opts = append(opts, bus.Await())
	return map[string]func(context.Context, *bus.EventBus) error{
		"Send": func(ctx context.Context, eb *bus.EventBus) error { return eb.Send(ctx, address, nil, opts...) },
		"large": func(ctx context.Context, eb *bus.EventBus) error {
			return eb.Send(ctx, address, make([]byte, 100<<10), opts...)
		},
		"Request": func(ctx context.Context, eb *bus.EventBus) error {
			_, err := eb.Request(ctx, address, nil, opts...)
			return err
		},
		"ByKey": func(ctx context.Context, eb *bus.EventBus) error {
			_, err := eb.Request(ctx, address, nil, append(opts, bus.ByKey("k"))...)
			return err
		},
	}
}

// A call that awaits a consumer goes to the first one that comes, at once.
func TestAwaitConsumer(t *testing.T) {
	for name, call := range awaiting("a") {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, p pair) {
				done := make(chan error, 1)
				go func() { done <- call(t.Context(), p.from) }()
				time.Sleep(10 * time.Second)
				if len(done) > 0 {
					t.Fatalf("without a consumer: %v", <-done)
				}
				consume(t, p.to, "a", repeatBack)
				came := time.Now()
				if err := <-done; err != nil || time.Since(came) > 10*time.Millisecond {
					t.Errorf("after %v: %v", time.Since(came), err)
				}
			})
		})
	}
}

// It ends at its deadline, with an error that says what it waited for.
func TestAwaitEndsInTime(t *testing.T) {
	for name, call := range awaiting("a") {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, p pair) {
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				err := call(ctx, p.from)
				if !errors.Is(err, bus.ErrNoConsumer) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, bus.ErrBusy) || time.Since(begin) != 3*time.Second ||
					!strings.Contains(err.Error(), `of "a", and none came in time`) {
					t.Errorf("after %v: %v", time.Since(begin), err)
				}
				begin = time.Now()
				if err := call(t.Context(), p.from); !errors.Is(err, bus.ErrNoConsumer) || time.Since(begin).Round(time.Second) != 30*time.Second {
					t.Errorf("without a deadline, after %v: %v", time.Since(begin), err)
				}
				if all := p.from.Addresses(); len(all) > 0 && all[len(all)-1].Address == "a" {
					t.Errorf("the address is known still: %+v", all)
				}
			})
		})
	}
}

// The only consumer is replaced under load: no request that awaits one fails, and
// those of a sender keep their order.
func TestAwaitWhileTheOnlyConsumerIsReplaced(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		var mu sync.Mutex
		var order []byte
		handle := func(ctx context.Context, m *bus.Message) error {
			mu.Lock()
			order = append(order, m.Body[0])
			mu.Unlock()
			return m.Reply(ctx, nil)
		}
		c := consume(t, p.to, "a", handle)
		var asking sync.WaitGroup
		for i := range 100 {
			time.Sleep(20 * time.Millisecond)
			switch i {
			case 30:
				c.Close()
			case 70:
				c = consume(t, p.to, "a", handle)
			}
			asking.Go(func() {
				if _, err := p.from.Request(t.Context(), "a", []byte{byte(i)}, bus.Await()); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		asking.Wait()
		if len(order) != 100 {
			t.Errorf("%d were handled", len(order))
		}
		for i, n := range order {
			if n != byte(i) {
				t.Fatalf("order: %v", order)
			}
		}
	})
}

// A call that waits for room waits on when the last consumer goes.
func TestAwaitOutlastsTheLastConsumer(t *testing.T) {
	for name, call := range awaiting("a") {
		for at, where := range []string{"local", "linked"} {
			t.Run(name+"/"+where, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c := crowded(t, bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(time.Second)), at)
					done := make(chan error, 1)
					go func() { done <- call(t.Context(), c.Bus(0)) }()
					time.Sleep(time.Second)
					c.consumer.Close()
					time.Sleep(time.Second)
					if len(done) > 0 {
						t.Fatalf("when nobody was left: %v", <-done)
					}
					consume(t, c.Bus(1-at), "a", repeatBack)
					if err := <-done; err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// What would wait for the caller itself is no consumer to wait for, and a closing bus
// lets nobody wait.
func TestAwaitInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		scope := eb.Scope()
		consume(t, scope, "own", repeatBack)
		consume(t, scope, "asks", func(ctx context.Context, m *bus.Message) error {
			_, err := scope.Request(ctx, "own", nil, bus.Await())
			if !errors.Is(err, bus.ErrDeadlock) {
				t.Errorf("in the own turn: %v", err)
			}
			return nil
		})
		begin := time.Now()
		if _, err := eb.Request(t.Context(), "asks", nil); err != nil || time.Since(begin) > 0 {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		for name, call := range map[string]error{
			"Publish":    eb.Publish(t.Context(), "a", nil, bus.Await()),
			"RequestAll": func() error { _, err := eb.RequestAll(t.Context(), "a", nil, bus.Await()); return err }(),
		} {
			if call == nil || !strings.Contains(call.Error(), "Await does not fit "+name) {
				t.Errorf("%s: %v", name, call)
			}
		}
		done := make(chan error, 2)
		go func() { done <- eb.Send(t.Context(), "a", nil, bus.Await()) }()
		go func() { done <- eb.Await(t.Context(), "a") }()
		synctest.Wait()
		if err := eb.Close(); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := <-done; !errors.Is(err, bus.ErrClosed) && !errors.Is(err, bus.ErrNoConsumer) {
				t.Errorf("when the bus closed: %v", err)
			}
		}
	})
}

// Await of the bus returns when a consumer is known, wherever it is.
func TestAwaitAddress(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		done := make(chan error, 1)
		go func() { done <- p.from.Await(t.Context(), "a") }()
		time.Sleep(time.Minute)
		consume(t, p.to, "b", repeatBack)
		synctest.Wait()
		if len(done) > 0 {
			t.Fatalf("without a consumer: %v", <-done)
		}
		consume(t, p.to, "a", repeatBack)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.from.Await(t.Context(), "a"); err != nil {
			t.Errorf("with a consumer: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.from.Await(ctx, "nobody"); !errors.Is(err, bus.ErrNoConsumer) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at the deadline: %v", err)
		}
		if err := p.from.Await(ctx, ""); err == nil || errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("no address: %v", err)
		}
	})
}

func ExampleAwait() {
	eb := bus.New()
	defer eb.Close()
	time.AfterFunc(10*time.Millisecond, func() { // the service starts a little later
		_, _ = eb.Consume("price", bus.Respond(func(_ context.Context, sku string) (int, error) { return 42, nil }))
	})
	fmt.Println(bus.Request[int](context.Background(), eb, "price", "apple", bus.Await()))
	// Output: 42 <nil>
}
