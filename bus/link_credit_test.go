package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

func TestBackPressure(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		release := make(chan struct{})
		var n atomic.Int32
		consume(t, p.to, "slow", func(context.Context, *bus.Message) error { <-release; n.Add(1); return nil }, bus.WithWindow(8<<10))
		consume(t, p.to, "other", bus.Respond(func(_ context.Context, s string) (string, error) { return s, nil }).Handle)
		sent := 0
		for {
			ctx, cancel := context.WithCancel(t.Context()) // no deadline: what has one expires
			giveUp := time.AfterFunc(100*time.Millisecond, cancel)
			err := p.from.Send(ctx, "slow", make([]byte, 1000))
			giveUp.Stop()
			cancel()
			if err != nil {
				if !errors.Is(err, bus.ErrBusy) || !errors.Is(err, context.Canceled) {
					t.Errorf("full: %v", err)
				}
				break
			}
			sent++
		}
		if want := 8; sent != want { // 1128 bytes each; one may start while any is left
			t.Errorf("%d messages fit, not %d", sent, want)
		}
		begin := time.Now()
		if err := p.from.Publish(t.Context(), "slow", nil); err != nil {
			t.Error(err)
		}
		if err := p.from.Publish(t.Context(), "slow", nil); err != nil || p.from.Stats().Skipped != 2 {
			t.Errorf("publish: %v, %d skipped", err, p.from.Stats().Skipped)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("two publishes took %v", took)
		}
		if _, err := p.from.Request(t.Context(), "other", "x"); err != nil {
			t.Errorf("another address: %v", err)
		}
		wait := make(chan error)
		go func() { wait <- p.from.Send(context.Background(), "slow", nil) }()
		close(release)
		if err := receive(t, wait); err != nil {
			t.Errorf("a send that waited: %v", err)
		}
		within(t, "all handled", func() bool { return n.Load() == int32(sent)+1 })
		within(t, "all settled", func() bool { s := p.from.Stats(); return s.Sent == s.Settled+s.Bounced+s.Unknown })
	})
}

// Routes come and go while messages wait for credit, over TCP: nothing stands still.
func TestRoutesGoWhileOthersWait(t *testing.T) {
	t.Parallel()
	nodes := mesh(t, 2)
	var progress atomic.Int64
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for g := range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
				_ = nodes[0].Send(ctx, fmt.Sprint("a", g%2), make([]byte, 2000))
				cancel()
				progress.Add(1)
			}
		})
	}
	for g := range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c, err := nodes[1].Consume(fmt.Sprint("a", g), bus.HandlerFunc(nothing), bus.WithWindow(1024))
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.Known(ctx)
				c.Close()
				progress.Add(1)
			}
		})
	}
	for n := progress.Load(); n < 2000; n = progress.Load() {
		within(t, "progress", func() bool { return progress.Load() > n })
	}
	stop()
	wg.Wait()
}

// A laggard gets no publish before half of its window is free.
func TestLaggard(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		step := make(chan struct{})
		defer close(step)
		consume(t, p.to, "a", func(context.Context, *bus.Message) error { <-step; return nil }, bus.WithWindow(10<<10))
		publish := func(skipped uint64) {
			t.Helper()
			if err := p.from.Publish(t.Context(), "a", make([]byte, 1<<10-messageCost)); err != nil {
				t.Error(err)
			}
			if s := p.from.Stats(); s.Skipped != skipped {
				t.Errorf("skipped %d, not %d", s.Skipped, skipped)
			}
		}
		handle := func(n int) {
			for range n {
				step <- struct{}{}
			}
			time.Sleep(time.Second) // for credit that is batched
		}
		for range 10 {
			publish(0)
		}
		publish(1)
		handle(4)
		publish(2)
		handle(1)
		publish(2)
	})
}

// LocalOnly without a local consumer is an error at once, though others wait.
func TestLocalOnlyDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(time.Second))
		block := make(chan int)
		consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(1024))
		c.Bus(0).Send(t.Context(), "a", make([]byte, 2000))
		go c.Bus(0).Send(context.Background(), "a", nil)
		synctest.Wait()
		begin := time.Now()
		err := c.Bus(0).Send(t.Context(), "a", nil, bus.LocalOnly())
		if !errors.Is(err, bus.ErrNoConsumer) || time.Since(begin) > 0 {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		close(block)
	})
}

// messageCost is what a message counts beside its body and headers; see
// bus.WithWindow.
const messageCost = 128

// A message waits behind those that wait already, though there is credit: it
// is given back in larger pieces.
func TestNobodyOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		step := make(chan struct{})
		var got []byte
		consume(t, eb, "a", func(_ context.Context, m *bus.Message) error {
			<-step
			got = append(got, m.Body[0])
			return nil
		}, bus.WithWindow(10<<10))
		send := func(name byte, size int) {
			if err := eb.Send(t.Context(), "a", append([]byte{name}, make([]byte, size)...)); err != nil {
				t.Error(err)
			}
		}
		for range 10 {
			send('.', 1<<10-messageCost-1)
		}
		go send('1', 0)
		synctest.Wait()
		step <- struct{}{}
		synctest.Wait()
		go send('2', 0)
		synctest.Wait()
		close(step)
		synctest.Wait()
		if want := "..........12"; string(got) != want {
			t.Errorf("handled in the order %s, not %s", got, want)
		}
	})
}

// Who begins to wait for credit while a message ends that frees half of the window
// gets it, though the next one, of the same batch, is handled for long.
func TestCreditComesBackBeforeTheNextMessage(t *testing.T) {
	eb := bus.New(quiet)
	defer eb.Close()
	type step struct{ fill, begun, end, sent chan struct{} }
	steps := make(chan step, 1)
	var s step
	n := 0
	consume(t, eb, "a", func(ctx context.Context, m *bus.Message) error {
		switch n++; n % 5 {
		case 1: // holds the batch of the others back
			s = <-steps
			<-s.fill
		case 2:
			close(s.begun)
			<-s.end
		case 3:
			select {
			case <-s.sent:
			case <-ctx.Done():
			}
		}
		return nil
	}, bus.WithWindow(2<<10))
	spins := 0
	for i, end := 0, time.Now().Add(stressTime()); time.Now().Before(end); i++ {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		s := step{make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
		steps <- s
		for _, size := range []int{0, 1572, 384} {
			if err := eb.Send(ctx, "a", make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		close(s.fill)
		<-s.begun
		sent := make(chan error, 1)
		go func() { sent <- eb.Send(ctx, "a", nil) }()
		for range i % 2000 {
			spins++
		}
		close(s.end)
		if err := <-sent; err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
		close(s.sent)
		if _, err := eb.Request(ctx, "a", nil); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
}

// Credit is written at once, and not with other credit a little later, as soon as either
// side has said that it leaves: a leave waits for it.
func TestCreditIsWrittenAtOnceInALeave(t *testing.T) {
	for name, leaves := range map[string]func(p *playedPeer){
		"of the peer":    func(p *playedPeer) { p.say(leavingFrame) },
		"of the bus":     func(p *playedPeer) { go p.eb.Close() },
		"of none of two": func(*playedPeer) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := playPeer(t, bus.WithDrainTimeout(time.Second))
				handled := make(chan struct{})
				if _, err := p.eb.Consume("in", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-handled; return nil })); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				p.say(routesFrame(1, true, nil), msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 60_000}))
				leaves(p)
				synctest.Wait()
				begin := time.Now()
				close(handled)
				p.hears("credit", settledCredit)
				if took := time.Since(begin); (took == 0) != (name != "of none of two") {
					t.Errorf("credit came after %v", took)
				}
			})
		})
	}
}
