package bus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// tcp links n buses over loopback TCP, each with each.
func tcp(t *testing.T, n int) []*bus.EventBus {
	t.Helper()
	ebs := make([]*bus.EventBus, n)
	links := make([]*bus.Links, n)
	peers := make([]bus.Peer, n)
	for i := range n {
		ebs[i] = bus.New(quiet, bus.WithDrainTimeout(time.Second))
		peers[i] = bus.Peer{Name: fmt.Sprint("n", i), Boot: uint64(i + 1)}
		links[i], _ = ebs[i].Attach(peers[i], nil)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range n {
		for j := range i {
			a, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			b, _ := l.Accept()
			var up sync.WaitGroup
			up.Add(2)
			go links[i].Serve(context.Background(), peers[j], a, up.Done)
			go links[j].Serve(context.Background(), peers[i], b, up.Done)
			up.Wait()
		}
	}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for _, eb := range ebs {
			wg.Go(func() { _ = eb.Close() })
		}
		wg.Wait()
	})
	return ebs
}

func consumeAt(t *testing.T, eb *bus.EventBus, a string, h bus.HandlerFunc, o ...bus.ConsumeOption) *bus.Consumer {
	t.Helper()
	return pair{to: eb}.consume(t, a, h, o...)
}

// Routes come and go while messages wait for credit, over TCP: nothing stands still.
func TestRoutesGoWhileOthersWait(t *testing.T) {
	ebs := tcp(t, 2)
	var progress atomic.Int64
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for g := range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
				_ = ebs[0].Send(ctx, fmt.Sprint("a", g%2), make([]byte, 2000))
				cancel()
				progress.Add(1)
			}
		})
	}
	for g := range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c, err := ebs[1].Consume(fmt.Sprint("a", g), bus.HandlerFunc(nothing), bus.WithWindow(1024))
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
	for n := progress.Load(); n < 5000; n = progress.Load() {
		within(t, "progress", func() bool { return progress.Load() > n })
	}
	stop()
	wg.Wait()
}

// A request that was sent back is written at once, though nobody is there to flush it.
func TestReroutedRequestIsWritten(t *testing.T) {
	t.Parallel()
	ebs := tcp(t, 3)
	began, block := make(chan int, 1), make(chan int)
	defer close(block)
	c := consumeAt(t, ebs[1], "a", func(context.Context, *bus.Message) error { began <- 1; <-block; return nil })
	if err := ebs[0].Send(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	<-began
	var closed time.Time
	done := make(chan error)
	go func() { _, err := ebs[0].Request(t.Context(), "a", nil); done <- err }()
	within(t, "sent", func() bool { return ebs[0].Stats().Sent == 2 })
	consumeAt(t, ebs[2], "a", nothing)
	time.Sleep(300 * time.Millisecond)
	closed = time.Now()
	c.Close()
	err := <-done
	if took := time.Since(closed); err != nil || took > 100*time.Millisecond {
		t.Errorf("rerouted request: %v after %v", err, took)
	}
}

// rawPeer links a bus with a peer that the test plays.
func rawPeer(t *testing.T, opts ...bus.Option) (*bus.EventBus, *bus.Links, *bustest.Conn, <-chan error, context.CancelFunc) {
	eb := bus.New(append([]bus.Option{quiet, bus.WithDrainTimeout(time.Second)}, opts...)...)
	l, _ := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
	a, b := bustest.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx, bus.Peer{Name: "raw", Boot: 2}, a, nil) }()
	return eb, l, b, ended, cancel
}

func put(t *testing.T, c *bustest.Conn, fs ...*wire.Frame) {
	t.Helper()
	var b []byte
	for _, f := range fs {
		x, err := proto.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, x...)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func routes(seq uint64, last bool, removed []uint32, added ...*wire.Routes_Added) *wire.Frame {
	return &wire.Frame{Kind: &wire.Frame_Routes{Routes: &wire.Routes{Seq: seq, Added: added, Removed: removed, Last: last}}}
}

func added(n uint32, a string) *wire.Routes_Added {
	return &wire.Routes_Added{Number: n, Address: a, Window: 1 << 18}
}

// A superseded link still brings removals, bounces and GOODBYE.
func TestSupersededLinkIsReadToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Int32
		eb, _, conn, ended, supersede := rawPeer(t, bus.WithDeadLetter(func(bus.DeadLetter) { dead.Add(1) }))
		defer eb.Close()
		put(t, conn, routes(1, true, nil, added(1, "a")))
		synctest.Wait()
		if err := eb.Send(t.Context(), "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		supersede()
		synctest.Wait()
		put(t, conn, routes(2, false, []uint32{1}),
			&wire.Frame{Kind: &wire.Frame_Bounce{Bounce: &wire.Msg{Kind: 1, Route: 1, TimeLeft: 5000, Hops: 1, Body: []byte("x")}}},
			&wire.Frame{Kind: &wire.Frame_Goodbye{Goodbye: &wire.Leaving{}}})
		conn.CloseWrite()
		err := <-ended
		if s := eb.Stats(); s.Unknown != 0 || s.Bounced != 1 {
			t.Errorf("bounced %d, unknown %d: the link was not read to its end: %v", s.Bounced, s.Unknown, err)
		}
	})
}

// The time that a message waited is taken off its time left.
func TestTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		block, left := make(chan int), make(chan time.Duration, 3)
		consume(t, c, 1, "a", func(ctx context.Context, m *bus.Message) error {
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

// A message that waits for a first link sees a consumer that appears elsewhere.
func TestAwaitLinkSeesConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		l, _ := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		defer l.Expect(bus.Peer{Name: "n1", Boot: 2})()
		time.AfterFunc(500*time.Millisecond, func() { eb.Consume("a", bus.HandlerFunc(nothing)) })
		begin := time.Now()
		if err := eb.Send(t.Context(), "a", nil); err != nil || time.Since(begin) > time.Second {
			t.Errorf("a consumer came after 500 ms; after %v: %v", time.Since(begin), err)
		}
	})
}

// Messages do not wait for a member that is linked already.
func TestExpectLinked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb, l, conn, _, _ := rawPeer(t)
		defer eb.Close()
		put(t, conn, routes(1, true, nil))
		synctest.Wait()
		defer l.Expect(bus.Peer{Name: "raw", Boot: 2})()
		begin := time.Now()
		err := eb.Send(t.Context(), "a", nil)
		if time.Since(begin) > 0 {
			t.Errorf("all members are linked; the error took %v: %v", time.Since(begin), err)
		}
	})
}

// A request that comes back does not go to the scope whose turn its caller holds.
func TestReroutedIntoOwnScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		block := make(chan int)
		remote := consume(t, c, 1, "a", func(context.Context, *bus.Message) error { <-block; return nil })
		c.Bus(0).Send(t.Context(), "a", nil)
		s := c.Bus(0).Scope()
		consumeAt(t, s, "a", nothing)
		result := make(chan error, 1)
		consumeAt(t, s, "b", func(ctx context.Context, m *bus.Message) error {
			_, err := c.Bus(0).Request(ctx, "a", nil)
			result <- err
			return nil
		})
		if err := c.Bus(0).Send(t.Context(), "b", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		remote.Close()
		err := <-result
		if took := time.Since(begin); took > time.Second && !errors.Is(err, bus.ErrDeadlock) && !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("after %v: %v", took, err)
		}
		if s := c.Bus(0).Stats(); s.Canceled+s.Expired > 0 {
			t.Logf("it was given to the caller's own scope: %+v", s)
		}
		close(block)
	})
}

// A nil *ReplyError as an error is an answer too.
func TestTypedNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		consumeAt(t, eb, "a", func(context.Context, *bus.Message) error { var e *bus.ReplyError; return e })
		begin := time.Now()
		_, err := eb.Request(t.Context(), "a", nil)
		if took := time.Since(begin); took > 0 {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// A peer that sends more than its credit loses the link.
func TestCreditOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb, _, conn, ended, _ := rawPeer(t)
		defer eb.Close()
		block := make(chan int)
		defer close(block)
		put(t, conn, routes(1, true, nil))
		synctest.Wait()
		eb.Consume("a", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-block; return nil }), bus.WithWindow(1024))
		synctest.Wait()
		go func() {
			for range 1000 {
				b, _ := proto.Marshal(&wire.Frame{Kind: &wire.Frame_Msg{Msg: &wire.Msg{Kind: 1, Route: 1, TimeLeft: 1e6, Body: make([]byte, 60000)}}})
				if _, err := conn.Write(b); err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Second)
		select {
		case err := <-ended:
			t.Log(err)
		default:
			t.Error("60 MB are queued at a window of 1 KiB")
		}
	})
}

// A laggard gets no publish before half of its window is free.
func TestLaggard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet, bus.WithDrainTimeout(time.Second))
		defer eb.Close()
		step := make(chan int)
		consumeAt(t, eb, "a", func(context.Context, *bus.Message) error { <-step; return nil }, bus.WithWindow(10*1024))
		for range 11 { // 10 fit
			eb.Publish(t.Context(), "a", make([]byte, 1024-128))
		}
		if s := eb.Stats(); s.Skipped != 1 {
			t.Fatalf("skipped %d", s.Skipped)
		}
		step <- 1 // a tenth of the window is free
		synctest.Wait()
		eb.Publish(t.Context(), "a", make([]byte, 1024-128))
		if s := eb.Stats(); s.Skipped != 2 {
			t.Errorf("skipped %d: the laggard got one with a tenth of its window free", s.Skipped)
		}
		close(step)
	})
}

// A request that was sent back ends with a Close that ran out of time.
func TestForcedClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet, bus.WithDrainTimeout(2*time.Second))
		block := make(chan int)
		h := func(ctx context.Context, m *bus.Message) error { <-block; return nil }
		first := consume(t, c, 1, "a", h)
		c.Bus(0).Send(t.Context(), "a", nil)
		synctest.Wait()
		done := make(chan error, 1)
		go func() { _, err := c.Bus(0).Request(context.Background(), "a", nil); done <- err }()
		synctest.Wait()
		consume(t, c, 2, "a", h, bus.WithWindow(1024))
		c.Bus(2).Send(t.Context(), "a", make([]byte, 2000)) // whichever
		c.Bus(0).Send(t.Context(), "a", make([]byte, 3000))
		c.Bus(0).Send(t.Context(), "a", make([]byte, 3000))
		synctest.Wait()
		first.Close()
		synctest.Wait()
		begin := time.Now()
		err := c.Bus(0).Close()
		t.Logf("closed after %v: %v", time.Since(begin), err)
		err = <-done
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("the request ended %v after Close began: %v", took, err)
		}
		close(block)
	})
}

// LocalOnly without a local consumer is an error at once, though others wait.
func TestLocalOnlyDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(time.Second))
		block := make(chan int)
		consume(t, c, 1, "a", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(1024))
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

// A context that ends while a call waits for a first link is in the error.
func TestContextWhileLinking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		l, _ := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		defer l.Expect(bus.Peer{Name: "n1", Boot: 2})()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := eb.Request(ctx, "a", nil); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// A request that was sent back and given up does not hold up a leave.
func TestEndedRequestDoesNotHoldLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		block := make(chan int)
		remote := consume(t, c, 1, "a", func(context.Context, *bus.Message) error { <-block; return nil })
		c.Bus(0).Send(t.Context(), "a", nil)
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		go c.Bus(0).Request(ctx, "a", nil)
		synctest.Wait()
		remote.Close()
		synctest.Wait()
		close(block)
		cancel()
		time.Sleep(time.Second)
		begin := time.Now()
		err := c.Bus(0).Close()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("nothing is left to do, Close took %v: %v; dead letters: %d", took, err, c.Bus(0).Stats().DeadLetters)
		}
	})
}

// A deadline may be thousands of years away.
func TestFarDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		consumeAt(t, eb, "a", nothing)
		ctx, cancel := context.WithDeadline(t.Context(), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
		defer cancel()
		time.Sleep(time.Second)
		if _, err := eb.Request(ctx, "a", nil); err != nil {
			t.Error(err)
		}
	})
}

// The context of a Do that is over holds no turn.
func TestContextOfDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		s := eb.Scope()
		var kept context.Context
		s.Do(t.Context(), func(ctx context.Context) error {
			kept = ctx
			_, err := s.Consume("a", bus.HandlerFunc(nothing))
			return err
		})
		if _, err := eb.Request(kept, "a", nil); err != nil {
			t.Error(err)
		}
	})
}

// A nil logger logs nowhere.
func TestNilLogger(t *testing.T) {
	defer func() {
		if p := recover(); p != nil {
			t.Error(p)
		}
	}()
	eb := bus.New(bus.WithLogger(nil))
	consumeAt(t, eb, "a", func(context.Context, *bus.Message) error { return nil })
	l, _ := eb.Attach(bus.Peer{}, nil)
	a, b := bustest.Pipe()
	go b.Write([]byte{34, 4, 8, 1, 32, 1}) // ROUTES, seq 1, last
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l.Serve(ctx, bus.Peer{Boot: 2}, a, nil) // in a program: on the cluster's goroutine
}

// A handler that ends its goroutine does not stop its consumer.
func TestGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet, bus.WithDrainTimeout(time.Second))
		defer eb.Close()
		consumeAt(t, eb, "a", func(_ context.Context, m *bus.Message) error {
			if len(m.Body) == 0 {
				runtime.Goexit()
			}
			return nil
		})
		eb.Send(t.Context(), "a", nil)
		synctest.Wait()
		if _, err := eb.Request(t.Context(), "a", []byte("x")); err != nil {
			t.Error(err)
		}
	})
}

// Headers without bytes are limited too.
func TestTooManyHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb, _, conn, ended, _ := rawPeer(t)
		defer eb.Close()
		got := make(chan int, 1)
		put(t, conn, routes(1, true, nil))
		synctest.Wait()
		eb.Consume("a", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error { got <- len(m.Header().Values("")); return nil }))
		synctest.Wait()
		m := &wire.Msg{Kind: 1, Route: 1, TimeLeft: 1e6}
		for range 50000 {
			m.Headers = append(m.Headers, &wire.Header{})
		}
		put(t, conn, &wire.Frame{Kind: &wire.Frame_Msg{Msg: m}})
		select {
		case n := <-got:
			t.Errorf("a message with %d headers was taken; the limit is 1024", n)
		case err := <-ended:
			t.Log(err)
		}
	})
}
