package bus_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// begun are when messages were begun with, since their deadline; negative before it.
type begun struct {
	mu    sync.Mutex
	after []time.Duration
}

// consume registers a consumer that notes it. A body is the time of the deadline.
func (b *begun) consume(t *testing.T, eb *bus.EventBus, address string) {
	t.Helper()
	consume(t, eb, address, bus.Receive(func(_ context.Context, deadline time.Time) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.after = append(b.after, time.Since(deadline))
		return nil
	}).Handle, bus.WithWindow(64<<10))
}

func (b *begun) send(t *testing.T, eb *bus.EventBus, address string, timeout time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	if err := eb.Send(ctx, address, deadline); err != nil && !errors.Is(err, bus.ErrBusy) {
		t.Error(err)
	}
}

// check checks that nothing was begun too late by more than a bound, and how many
// were in time.
func (b *begun) check(t *testing.T, bound time.Duration, atLeast int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.after {
		if d > bound {
			t.Errorf("begun %v after the deadline", d)
		}
	}
	if len(b.after) < atLeast {
		t.Errorf("%d were begun with, of %d that were in time", len(b.after), atLeast)
	}
}

// What waits in a link grows older there, as when its receiver is stopped: what its
// sender has given up meanwhile is not begun with.
func TestNothingIsBegunLateOutOfALink(t *testing.T) {
	for _, stop := range []time.Duration{2800 * time.Millisecond, 4 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(time.Second))
			c.Conn(0, 1).SetDelay(func() time.Duration { return time.Millisecond })
			c.Conn(1, 0).SetDelay(func() time.Duration { return time.Millisecond })
			var b begun
			b.consume(t, c.Bus(1), "a")
			time.Sleep(1300 * time.Millisecond) // a ping has told of the clocks
			b.send(t, c.Bus(0), "a", time.Second)
			synctest.Wait()
			c.Conn(0, 1).Stall() // nothing is read
			for i := range 20 {
				b.send(t, c.Bus(0), "a", time.Second+time.Duration(i)*200*time.Millisecond)
			}
			time.Sleep(stop)
			c.Conn(0, 1).Resume()
			time.Sleep(10 * time.Second)
			b.check(t, 3*time.Millisecond, 1+int((5*time.Second-stop)/(200*time.Millisecond))-2)
			if s := c.Bus(1).Stats(); s.Handled+s.Expired != 21 {
				t.Errorf("%+v", s)
			}
			atRest(t, c.Bus(0))
		})
	}
}

// Likewise in the sender's own buffer, behind others on a slow link, and what
// waited for its first link.
func TestNothingIsBegunLateOutOfABuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(time.Second))
		c.Conn(0, 1).SetRate(100 << 10)
		var b begun
		b.consume(t, c.Bus(1), "a")
		for range 64 {
			consume(t, c.Bus(1), "sink", nothing)
		}
		b.send(t, c.Bus(0), "a", time.Second)
		time.Sleep(2 * time.Second)
		for range 8 { // some five seconds
			if err := c.Bus(0).Send(t.Context(), "sink", make([]byte, 60<<10)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			b.send(t, c.Bus(0), "a", time.Second+time.Duration(i)*500*time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		b.check(t, 3*time.Millisecond, 10)
		if s := c.Bus(1).Stats(); s.Expired < 5 {
			t.Errorf("%d expired", s.Expired)
		}
	})
}

// The time that a call waited for the first link is taken off its time left.
func TestTimeLeftAfterWaitingForLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bus.New(quiet), bus.New(quiet)
		defer a.Close()
		defer b.Close()
		la, _ := a.Attach(bus.Peer{Name: "a", Boot: 1}, nil)
		lb, _ := b.Attach(bus.Peer{Name: "b", Boot: 2}, nil)
		left := make(chan time.Duration, 1)
		consume(t, b, "x", func(ctx context.Context, _ *bus.Message) error {
			d, _ := ctx.Deadline()
			left <- time.Until(d)
			return nil
		})
		defer la.Expect(bus.Peer{Name: "b", Boot: 2})()
		time.AfterFunc(1900*time.Millisecond, func() {
			x, y := bustest.Pipe()
			go la.ServeLink(context.Background(), bus.Peer{Name: "b", Boot: 2}, x, nil) // end with their buses
			go lb.ServeLink(context.Background(), bus.Peer{Name: "a", Boot: 1}, y, nil)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := a.Send(ctx, "x", nil); err != nil {
			t.Fatal(err)
		}
		if d := <-left; d > 101*time.Millisecond {
			t.Errorf("100 ms were left at the sender, %v at the handler", d)
		}
	})
}

// A peer whose clock stands still for a while, as that of a machine that is
// suspended, is noticed at the next PING: what it sends then is not taken for old.
func TestClockOfAPeerStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		p.say(routesFrame(1, true, nil))
		left := make(chan time.Duration, 1)
		_, err := p.eb.Consume("in", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
			d, _ := ctx.Deadline()
			left <- time.Until(d)
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now().Add(-time.Hour)
		clock := func(stood time.Duration) uint64 { return uint64((time.Since(began) - stood).Microseconds()) }
		say := func(stood time.Duration) (time.Duration, bool) {
			p.say(&wire.Frame{Kind: &wire.Frame_Time{Time: &wire.Ping{Clock: clock(stood)}}}, msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000}))
			select {
			case d := <-left:
				return d, true
			default:
				return 0, false
			}
		}
		second := func(stood time.Duration) {
			time.Sleep(time.Second)
			synctest.Wait() // the ping of this moment is written
			for _, f := range p.heard() {
				if ping := f.GetPing().GetClock(); ping > 0 {
					p.say(&wire.Frame{Kind: &wire.Frame_Pong{Pong: &wire.Ping{Clock: clock(stood), Heard: ping}}})
				}
			}
		}
		check := func(stood time.Duration) {
			t.Helper()
			if d, ok := say(stood); !ok || d < 990*time.Millisecond || d > 1010*time.Millisecond {
				t.Errorf("its clock is %v behind: of 1 s there were %v left; begun %v", stood, d, ok)
			}
		}
		check(0)
		for range 10 {
			second(0)
			check(0)
		}
		const stood = 3 * time.Second
		_, _ = say(stood)
		second(stood)
		check(stood)
	})
}
