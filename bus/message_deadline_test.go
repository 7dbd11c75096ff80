package bus_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

func TestDeadlineAndCancel(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		ended, asked := make(chan error), make(chan error)
		consume(t, p.to, "slow", func(ctx context.Context, _ *bus.Message) error {
			<-ctx.Done()
			ended <- ctx.Err() // when the requester has ended
			return nil
		})
		ask := func(ctx context.Context) error {
			go func() {
				_, err := p.from.Request(ctx, "slow", nil)
				asked <- err
			}()
			return receive(t, asked)
		}
		ctx, cancel := context.WithCancel(t.Context())
		started := time.AfterFunc(50*time.Millisecond, cancel)
		defer started.Stop()
		if err := ask(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled request: %v", err)
		}
		if err := receive(t, ended); !errors.Is(err, context.Canceled) {
			t.Errorf("its handler: %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("late request: %v", err)
		}
		if err := receive(t, ended); err == nil {
			t.Errorf("its handler: %v", err)
		}
	})
}

// The time that a message waited is taken off its time left.
func TestTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		block, left := make(chan int), make(chan time.Duration, 3)
		consume(t, c.Bus(1), "a", func(ctx context.Context, m *bus.Message) error {
			if len(m.Body) > 0 {
				<-block
				return nil
			}
			d, _ := ctx.Deadline()
			left <- time.Until(d)
			return nil
		}, bus.WithWindow(1024))
		c.Bus(0).Send(t.Context(), "a", make([]byte, 2000))
		time.AfterFunc(9*time.Second, func() { close(block) })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := c.Bus(0).Send(ctx, "a", nil); err != nil {
			t.Fatal(err)
		}
		if d := <-left; d > 1100*time.Millisecond {
			t.Errorf("1 s was left at the sender, %v at the handler", d)
		}
	})
}

// A deadline may be thousands of years away.
func TestFarDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		consume(t, eb, "a", nothing)
		ctx, cancel := context.WithDeadline(t.Context(), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
		defer cancel()
		time.Sleep(time.Second)
		if _, err := eb.Request(ctx, "a", nil); err != nil {
			t.Error(err)
		}
	})
}

// A handler that gives up at the deadline does not hide from the requester
// that it was the deadline.
func TestDeadlineIsTheRequesters(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		consume(t, p.to, "slow", func(ctx context.Context, _ *bus.Message) error {
			<-ctx.Done()
			return ctx.Err()
		})
		for i := range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := p.from.Request(ctx, "slow", nil)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("request %d: %v", i, err)
			}
		}
	})
}

// What has expired, or was given up, while it waited is not handled.
func TestTooLateIsNotHandled(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		block := make(chan struct{})
		var handled atomic.Int32
		consume(t, p.to, "a", func(context.Context, *bus.Message) error { <-block; handled.Add(1); return nil })
		if err := p.from.Send(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		late, cancelLate := context.WithTimeout(t.Context(), time.Second)
		defer cancelLate()
		if err := p.from.Send(late, "a", nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		asked := make(chan error, 1)
		go func() { _, err := p.from.Request(ctx, "a", nil); asked <- err }()
		synctest.Wait()
		cancel()
		if err := receive(t, asked); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		close(block)
		synctest.Wait()
		if s := p.to.Stats(); handled.Load() != 1 || s.Expired != 1 || s.Canceled != 1 {
			t.Errorf("%d handled, %d expired, %d canceled", handled.Load(), s.Expired, s.Canceled)
		}
		time.Sleep(time.Second)
		if s := p.from.Stats(); s.Sent != 3 || s.Settled != 3 {
			t.Errorf("%d of %d settled", s.Settled, s.Sent)
		}
	})
}
