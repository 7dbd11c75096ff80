package bus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// TestSlowLines drives every kind of frame, both ways at once, over links that are
// always full, slow, long, or read slowly, in virtual time, and checks the promises.
func TestSlowLines(t *testing.T) {
	for _, rate := range []float64{0.15, 1, 8, 100} {
		n := mbit(rate)
		buffer := max(16<<10, min(n, 4<<20)) // a second, or what Linux has
		for name, l := range map[string]line{
			"long":        {rate: n, buffer: buffer, delay: 200 * time.Millisecond},
			"read slowly": {reads: n, buffer: buffer, delay: time.Millisecond},
		} {
			t.Run(fmt.Sprint(rate, " Mbit per s, ", name), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { newSlowLine(t, l, n).run() })
			})
		}
	}
}

// slowLine is two buses with a link between them, and what goes over it.
type slowLine struct {
	*simNet
	t     *testing.T
	line  line
	rate  int // bytes a second
	ctx   context.Context
	stop  func()
	wg    sync.WaitGroup
	ended [2]sync.Map // calls, by node and kind: *atomic.Int64
}

func newSlowLine(t *testing.T, l line, rate int) *slowLine {
	s := &slowLine{t: t, line: l, rate: rate, simNet: newLine(t, l, bus.WithDrainTimeout(10*time.Minute))}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

func (s *slowLine) run() {
	for i := range 2 {
		s.consumers(i)
	}
	time.Sleep(time.Minute) // all is known
	for i := range 2 {
		s.drive(i)
	}
	time.Sleep(s.length())
	s.stop()
	s.wg.Wait()
	s.rest()
}

// length is how long there is traffic: what is sent is bounded.
func (s *slowLine) length() time.Duration {
	most := 300 << 20
	if testing.Short() {
		most /= 5
	}
	return min(3*time.Minute, time.Duration(most)*time.Second/time.Duration(s.rate))
}

// slowest is the time that a frame in order takes at most which is written behind
// others: those that wait, a part that is written, and what a kernel holds.
func (s *slowLine) slowest() time.Duration {
	const waits, part = 128 << 10, 128 << 10
	return time.Duration(max(s.rate/20, waits+part)+s.line.buffer)*time.Second/time.Duration(s.rate) + s.line.delay + 300*time.Millisecond
}

func (s *slowLine) consumers(i int) {
	eb := s.bus(i)
	for range 8 {
		s.consume(eb, s.address("sink", i), nothing)
		s.consume(eb, s.address("news", i), nothing)
	}
	var last uint64
	s.consume(eb, s.address("order", i), func(_ context.Context, m *bus.Message) error {
		if seq := binary.BigEndian.Uint64(m.Body); seq <= last {
			s.t.Errorf("n%d: %d after %d", i, seq, last)
		} else {
			last = seq
		}
		return nil
	})
	echo := func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, m.Body) }
	s.consume(eb, s.address("echo", i), echo)
	s.consume(eb, "churn", echo, bus.LocalOnly())
	s.consume(eb, s.address("never", i), func(ctx context.Context, _ *bus.Message) error { <-ctx.Done(); return nil }, bus.WithConcurrency(100))
	s.consume(eb, s.address("ask", i), func(ctx context.Context, m *bus.Message) error {
		_, err := m.Request(ctx, "which?")
		return err
	}, bus.WithConcurrency(100))
}

// address is one of which only that node has consumers.
func (s *slowLine) address(what string, i int) string { return fmt.Sprint(what, i) }

func (s *slowLine) consume(eb *bus.EventBus, address string, h bus.HandlerFunc, opts ...bus.ConsumeOption) *bus.Consumer {
	c, err := eb.Consume(address, h, opts...)
	if err != nil {
		s.t.Error(err)
	}
	return c
}

// drive starts all that a node does.
func (s *slowLine) drive(i int) {
	eb, there := s.bus(i), s.bus(1-i)
	small, large := make([]byte, 1<<10), make([]byte, max(100<<10, min(8<<20, 4*s.rate)))
	for range 4 {
		s.loop(i, "flood", 0, func(ctx context.Context, _ uint64) error { return eb.Send(ctx, s.address("sink", 1-i), small) })
	}
	s.loop(i, "inline", 0, func(ctx context.Context, _ uint64) error { return eb.Send(ctx, s.address("sink", 1-i), large[:60<<10]) })
	s.loop(i, "publish", time.Second/4, func(ctx context.Context, _ uint64) error { return eb.Publish(ctx, s.address("news", 1-i), small) })
	s.loop(i, "order", time.Second/10, func(ctx context.Context, seq uint64) error {
		return eb.Send(ctx, s.address("order", 1-i), binary.BigEndian.AppendUint64(nil, seq+1))
	})
	s.loop(i, "large", time.Second, func(ctx context.Context, _ uint64) error { return eb.Send(ctx, s.address("sink", 1-i), large) })
	s.loop(i, "large reply", 5*time.Second, func(ctx context.Context, _ uint64) error {
		_, err := eb.Request(ctx, s.address("echo", 1-i), large[:100<<10])
		return err
	})
	for range 4 {
		s.loop(i, "request", time.Second/10, func(ctx context.Context, _ uint64) error {
			_, err := eb.Request(ctx, s.address("echo", 1-i), small)
			return err
		})
	}
	s.loop(i, "churn", time.Second/10, func(ctx context.Context, _ uint64) error {
		_, err := eb.Request(ctx, "churn", small)
		return err
	})
	s.loop(i, "question", time.Second, func(ctx context.Context, _ uint64) error {
		q, err := eb.Request(ctx, s.address("ask", 1-i), nil)
		if err != nil {
			return err
		}
		return q.Reply(ctx, "this")
	})
	s.loop(i, "given up", time.Second, func(ctx context.Context, _ uint64) error {
		ctx, cancel := context.WithCancel(ctx)
		defer time.AfterFunc(time.Second, cancel).Stop()
		if _, err := eb.Request(ctx, s.address("never", 1-i), nil); err == nil {
			return errors.New("answered")
		}
		return nil
	})
	s.loop(i, "known and gone", 0, func(ctx context.Context, _ uint64) error {
		begin := time.Now()
		c := s.consume(there, "churn", func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, m.Body) })
		err := c.Known(ctx)
		if took := time.Since(begin); took > 2*s.slowest() {
			s.t.Errorf("n%d: known after %v, more than %v", 1-i, took, 2*s.slowest())
		}
		time.Sleep(5 * time.Second)
		c.Close()
		return err
	})
}

// loop calls one after the other, each with a limit that is enough for all who wait.
func (s *slowLine) loop(i int, kind string, pause time.Duration, call func(ctx context.Context, n uint64) error) {
	limit := 10*s.slowest() + 20*time.Second
	count, _ := s.ended[i].LoadOrStore(kind, new(atomic.Int64))
	s.wg.Go(func() {
		for n := uint64(0); s.ctx.Err() == nil; n++ {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			begin := time.Now()
			err := call(ctx, n)
			cancel()
			if took := time.Since(begin); err != nil || took > limit+100*time.Millisecond {
				s.t.Errorf("n%d: %s after %v: %v", i, kind, took, err)
				return
			}
			count.(*atomic.Int64).Add(1)
			time.Sleep(pause)
		}
	})
}

// rest checks what must hold in the end, and that both leave in peace.
func (s *slowLine) rest() {
	time.Sleep(10*s.slowest() + time.Minute)
	for i, n := range s.nodes {
		if len(n.Peers()) != 1 {
			s.t.Errorf("n%d: the link has ended", i)
		}
		if st := n.Stats(); st.Unknown > 0 || st.Sent != st.Settled+st.Bounced || st.DeadLetters > 0 || st.Expired > 0 {
			s.t.Errorf("n%d: %+v", i, st)
		}
		s.ended[i].Range(func(kind, count any) bool {
			n := count.(*atomic.Int64).Load()
			s.t.Logf("n%d: %v: %d", i, kind, n)
			if n == 0 {
				s.t.Errorf("n%d: no %v has ended", i, kind)
			}
			return true
		})
	}
	for i, n := range s.nodes {
		begin := time.Now()
		if err := n.Close(); err != nil || time.Since(begin) > 10*s.slowest()+5*time.Second {
			s.t.Errorf("n%d: closed after %v: %v", i, time.Since(begin), err)
		}
	}
	s.close()
}
