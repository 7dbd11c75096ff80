package bus_test

import (
	"context"
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

// narrow links buses to the first over pipes of the given buffer each. It
// returns the end at the first of each.
var far []*bustest.Conn

func narrow(t *testing.T, buffer int, buses ...*bus.EventBus) (conns []*bustest.Conn) {
	t.Helper()
	far = nil
	var ls []*bus.Attachment
	for i, b := range buses {
		l, err := b.Attach(bus.Peer{Name: string(rune('a' + i)), Boot: uint64(i + 1)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
	}
	var wg sync.WaitGroup
	for i := 1; i < len(buses); i++ {
		x, y := bustest.Pipe(bustest.WithBuffer(buffer))
		conns = append(conns, x)
		far = append(far, y)
		wg.Go(func() {
			err := ls[0].ServeLink(context.Background(), bus.Peer{Name: string(rune('a' + i)), Boot: uint64(i + 1)}, x, nil)
			t.Logf("a's link to %c: %v", 'a'+i, err)
		})
		wg.Go(func() {
			err := ls[i].ServeLink(context.Background(), bus.Peer{Name: "a", Boot: 1}, y, nil)
			t.Logf("%c's link to a: %v", 'a'+i, err)
		})
	}
	t.Cleanup(func() {
		for _, b := range buses {
			wg.Go(func() { _ = b.Close() })
		}
		wg.Wait()
	})
	synctest.Wait()
	return conns
}

// A caller that gives up while the last chunk is being written is too late: the
// message counts as sent, and its credit is in order.
func TestBulkGivenUpAtItsLastChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bus.New(quiet), bus.New(quiet)
		conn := narrow(t, 96<<10, a, b)[0]
		var handled atomic.Int32
		consume(t, b, "x", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error { handled.Add(1); return nil }))
		gotGo := make(chan struct{})
		go func() { // BULK is through, its chunks are not
			<-gotGo
			conn.Stall()
		}()
		conn.SetDelay(func() time.Duration { return 50 * time.Millisecond })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.AfterFunc(60*time.Millisecond, func() { close(gotGo) }) // chunks fly from 50 ms on
		time.AfterFunc(2*time.Second, conn.Resume)
		err := a.Send(ctx, "x", make([]byte, 110<<10))
		time.Sleep(3 * time.Second)
		if err != nil && handled.Load() > 0 {
			t.Errorf("handled %d times, though Send said: %v", handled.Load(), err)
		}
		if len(a.Peers()) != 1 {
			t.Errorf("the link has ended; %+v", a.Stats())
		}
	})
}

// A route that goes while the last chunk is being written: the message is handled
// once.
func TestBulkRouteGoesAtItsLastChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := bus.New(quiet), bus.New(quiet), bus.New(quiet)
		conn := narrow(t, 96<<10, a, b, c)[0]
		var handled atomic.Int32
		h := bus.HandlerFunc(func(_ context.Context, m *bus.Message) error { handled.Add(1); return nil })
		cn := consume(t, b, "x", h, bus.WithWindow(1<<20))
		conn.SetDelay(func() time.Duration { return 50 * time.Millisecond })
		time.AfterFunc(60*time.Millisecond, conn.Stall)
		time.AfterFunc(2*time.Second, conn.Resume)
		time.AfterFunc(time.Second, func() {
			consume(t, c, "x", h)
			cn.Close()
		})
		if err := a.Send(t.Context(), "x", make([]byte, 110<<10)); err != nil {
			t.Error(err)
		}
		time.Sleep(3 * time.Second)
		if handled.Load() != 1 {
			t.Errorf("handled %d times", handled.Load())
		}
		if len(a.Peers()) != 2 {
			t.Errorf("a link has ended; peers %v", a.Peers())
		}
		s := a.Stats()
		t.Logf("%+v", s)
	})
}

// A message that waits behind a large one to the same consumer goes as soon as
// that is written.
func TestSmallBehindBulkIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		block := make(chan struct{})
		defer close(block)
		var slow atomic.Bool
		consume(t, c.Bus(1), "x", func(context.Context, *bus.Message) error {
			if slow.Load() {
				<-block
			}
			return nil
		})
		// grow the window
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				for range 10 {
					_ = c.Bus(0).Send(t.Context(), "x", make([]byte, 8<<10))
				}
			})
		}
		wg.Wait()
		time.Sleep(2 * time.Second)
		slow.Store(true)
		c.Conn(0, 1).SetDelay(func() time.Duration { return 10 * time.Millisecond })
		begin := time.Now()
		var bulkAt, smallAt time.Duration
		wg.Go(func() {
			_ = c.Bus(0).Send(t.Context(), "x", make([]byte, 300<<10))
			bulkAt = time.Since(begin)
		})
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			_ = c.Bus(0).Send(t.Context(), "x", nil)
			smallAt = time.Since(begin)
		})
		wg.Wait()
		if smallAt-bulkAt > 100*time.Millisecond {
			t.Errorf("large one written after %v, small one behind it posted after %v", bulkAt, smallAt)
		}
	})
}

// A leave does not wait longer than for its last large bounce.
func TestLeaveWithLargeBounceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := bus.New(quiet), bus.New(quiet), bus.New(quiet)
		far = nil
		narrow(t, 256<<10, a, b, c)
		consume(t, b, "x", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error { time.Sleep(10 * time.Millisecond); return nil }), bus.WithWindow(1<<20))
		go a.Send(context.Background(), "x", make([]byte, 10))
		synctest.Wait()
		go a.Send(context.Background(), "x", make([]byte, 200<<10))
		synctest.Wait()
		got := make(chan time.Time, 1)
		consume(t, c, "x", bus.HandlerFunc(func(context.Context, *bus.Message) error { got <- time.Now(); return nil }))
		far[0].SetDelay(func() time.Duration { return 20 * time.Millisecond })
		begin := time.Now()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		took := time.Since(begin)
		at := (<-got).Sub(begin)
		t.Log(at, took, b.Stats())
		if took > at+100*time.Millisecond {
			t.Errorf("the bounce was elsewhere after %v, the leave took %v", at, took)
		}
	})
}

// The time that a large body takes is taken off its time left.
func TestBulkDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		var left time.Duration
		consume(t, c.Bus(1), "x", func(ctx context.Context, m *bus.Message) error {
			d, _ := ctx.Deadline()
			left = time.Until(d)
			return nil
		})
		c.Conn(0, 1).SetDelay(func() time.Duration { return 20 * time.Millisecond })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := c.Bus(0).Request(ctx, "x", make([]byte, 8<<20)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took+left > 5500*time.Millisecond {
			t.Errorf("after %v the handler still had %v of 5 s", took, left)
		}
	})
}

// A number is free again when the last message for it was taken back half way.
func TestNumberAfterBulkReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		cn := consume(t, c.Bus(1), "x", nothing)
		c.Conn(0, 1).SetDelay(func() time.Duration { return 10 * time.Millisecond })
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		time.AfterFunc(100*time.Millisecond, func() { cn.Close() })
		begin := time.Now()
		if err := c.Bus(0).Publish(ctx, "x", make([]byte, 16<<20)); err != nil {
			t.Log(err)
		}
		t.Log(time.Since(begin))
		time.Sleep(3 * time.Second)
		consume(t, c.Bus(1), "y", nothing)
		if n := bus.NumbersOf(c.Bus(1)); n != 1 {
			t.Errorf("%d numbers are in use for 1 consumer", n)
		}
	})
}

func bulkFrame(t *testing.T, id, size uint64, m *wire.Msg) *wire.Frame {
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return &wire.Frame{Kind: &wire.Frame_Bulk{Bulk: &wire.Bulk{Id: id, Size: size, Frame: 1, Fields: b}}}
}

func chunkFrame(id uint64, b []byte) *wire.Frame {
	return &wire.Frame{Kind: &wire.Frame_Chunk{Chunk: &wire.Chunk{Id: id, Data: b}}}
}

// A window that shrinks under load breaks nothing.
func TestShrinkUnderLoad(t *testing.T) {
	c := bustest.NewCluster(t, 2, quiet, bus.WithMemory(500<<10))
	consume(t, c.Bus(1), "x", func(context.Context, *bus.Message) error { return nil })
	end := time.Now().Add(6 * time.Second)
	for time.Now().Before(end) && len(c.Bus(0).Peers()) == 1 {
		var wg sync.WaitGroup
		for range 100 { // the window grows
			wg.Go(func() {
				for range 20 {
					_ = c.Bus(0).Send(t.Context(), "x", make([]byte, 4000))
				}
			})
		}
		wg.Wait()
		stop := time.Now().Add(1500 * time.Millisecond)
		for range 8 {
			wg.Go(func() {
				for time.Now().Before(stop) {
					_ = c.Bus(0).Publish(t.Context(), "x", make([]byte, 4000), bus.NoWait())
				}
			})
		}
		wg.Wait()
	}
	if len(c.Bus(0).Peers()) != 1 {
		t.Error("the link has ended")
	}
}

// A large request that has ended is not routed again.
func TestBulkAgainAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bus.New(quiet), bus.New(quiet)
		conn := narrow(t, 96<<10, a, b)[0]
		consume(t, a, "y", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			time.Sleep(2 * time.Second)
			return m.Reply(ctx, []byte("y"))
		}), bus.WithConcurrency(100))
		var wrong atomic.Int32
		for range 300 {
			cn := consume(t, b, "x", bus.HandlerFunc(nothing))
			conn.Stall()
			const d = time.Second
			ctx, cancel := context.WithTimeout(t.Context(), d)
			made := make(chan *bus.Consumer, 1)
			time.AfterFunc(d-time.Millisecond, func() {
				local, _ := a.Consume("x", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
					time.Sleep(time.Millisecond)
					return m.Reply(ctx, []byte("x"))
				}))
				made <- local
			})
			time.AfterFunc(d, func() { cn.Close() })
			_, _ = a.Request(ctx, "x", make([]byte, 1<<20))
			cancel()
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					m, err := a.Request(t.Context(), "y", nil)
					if err != nil || string(m.Body) != "y" {
						wrong.Add(1)
					}
				})
			}
			conn.Resume()
			wg.Wait()
			(<-made).Close()
		}
		if n := wrong.Load(); n > 0 {
			t.Errorf("%d replies were another request's", n)
		}
	})
}

// A message that waits for a place beside two large ones goes when those are
// refused.
func TestBulkWakesAfterRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bus.New(quiet, bus.WithBodyLimit(4<<20)), bus.New(quiet, bus.WithBodyLimit(1<<20))
		narrow(t, 256<<10, a, b)
		for _, x := range []string{"x", "y", "z"} {
			consume(t, b, x, bus.HandlerFunc(nothing))
		}
		begin := time.Now()
		var wg sync.WaitGroup
		far[0].SetDelay(func() time.Duration { return 10 * time.Millisecond })
		for _, x := range []string{"x", "y"} {
			wg.Go(func() { _ = a.Send(t.Context(), x, make([]byte, 2<<20)) })
		}
		time.Sleep(time.Millisecond)
		if err := a.Send(t.Context(), "z", make([]byte, 100<<10)); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > 200*time.Millisecond {
			t.Errorf("the third was placed after %v; the others were refused after 10 ms", took)
		}
		wg.Wait()
	})
}
