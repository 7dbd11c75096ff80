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
)

// newStar returns a hub, which is bus 0, and a bus for each line, linked with the hub
// over it. The test closes them.
func newStar(t *testing.T, lines ...line) *simNet {
	t.Helper()
	sn := newSimNet(t)
	sn.opts = []bus.Option{bus.WithDrainTimeout(10 * time.Second)}
	sn.nodes = append(sn.nodes, newNode(t, 0, sn.opts...))
	for i, l := range lines {
		sn.nodes = append(sn.nodes, newNode(t, i+1, sn.opts...))
		sn.line = l
		sn.link(0, i+1)
	}
	return sn
}

// askAll asks n at once, each with a limit of its own, and counts the failures.
func askAll(t *testing.T, eb *bus.EventBus, address string, n int, limit time.Duration) (wg *sync.WaitGroup, failed *atomic.Int64) {
	wg, failed = new(sync.WaitGroup), new(atomic.Int64)
	for range n {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if _, err := eb.Request(ctx, address, nil); err != nil {
				failed.Add(1)
			}
		})
	}
	return wg, failed
}

// A requester that reads slowly holds up neither the consumer nor, with it, the
// requests of others, and gets all its replies, as slowly as it takes them.
func TestSlowRequesterHoldsUpNobody(t *testing.T) {
	for _, size := range []int{60 << 10, 200 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sn := newStar(t, line{rate: mbit(0.8), buffer: 64 << 10}, line{rate: mbit(1000), buffer: 64 << 10})
				defer sn.close()
				body := make([]byte, size)
				consume(t, sn.bus(0), "page", func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, body) })
				slow, failed := askAll(t, sn.bus(1), "page", 60, 10*time.Minute)
				time.Sleep(time.Second)
				for range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
					if _, err := sn.bus(2).Request(ctx, "page", nil); err != nil {
						t.Error(err)
					}
					cancel()
					time.Sleep(100 * time.Millisecond)
				}
				slow.Wait()
				if n := failed.Load(); n > 0 {
					t.Errorf("%d of 60 requests over the slow line failed", n)
				}
			})
		})
	}
}

// What a link keeps of replies is bounded: others are answered with an error, and
// hold up their consumer for a moment, once. When half are written, more are kept.
func TestKeptRepliesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sn := newStar(t, line{buffer: 64 << 10}, line{})
		defer sn.close()
		const requests, size = 400, 60 << 10 // 23 MiB, of which a quarter of 64 MiB is kept
		var replies atomic.Int64
		body := make([]byte, size)
		page := func(ctx context.Context, m *bus.Message) error {
			err := m.Reply(ctx, body)
			if err == nil {
				replies.Add(1)
			} else if !errors.Is(err, bus.ErrBusy) || m.WantsReply() {
				t.Errorf("Reply: %v; wants one still: %v", err, m.WantsReply())
			}
			return nil
		}
		for range 4 { // with a window each
			consume(t, sn.bus(0), "page", page)
		}
		sn.end(0, 1).Stall()
		var busy, answered atomic.Int64
		var wg sync.WaitGroup
		for range requests {
			wg.Go(func() {
				_, err := sn.bus(1).Request(t.Context(), "page", nil)
				var no *bus.ReplyError
				switch {
				case err == nil:
					answered.Add(1)
				case errors.As(err, &no) && no.Code == bus.CodeBusy:
					busy.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		begin := time.Now()
		if _, err := sn.bus(2).Request(t.Context(), "page", nil); err != nil || time.Since(begin) > 150*time.Millisecond {
			t.Errorf("another's request took %v: %v", time.Since(begin), err)
		}
		time.Sleep(time.Second)
		sn.end(0, 1).Resume()
		wg.Wait()
		const most = (16<<20 + 1<<20 + 128<<10) / size
		if n := answered.Load(); n < most-20 || n > most+5 || busy.Load() != requests-n || replies.Load() != n+1 {
			t.Errorf("%d answered of about %d, %d busy, %d replies given", n, most, busy.Load(), replies.Load())
		}
		if _, err := sn.bus(1).Request(t.Context(), "page", nil); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// A bus that leaves writes the replies first that its links keep.
func TestKeptRepliesBeforeGoodbye(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sn := newStar(t, line{rate: mbit(8), buffer: 64 << 10})
		defer sn.close()
		body := make([]byte, 60<<10)
		consume(t, sn.bus(0), "page", func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, body) })
		asked, failed := askAll(t, sn.bus(1), "page", 60, time.Minute)
		time.Sleep(100 * time.Millisecond) // all are handled
		if err := sn.bus(0).Close(); err != nil {
			t.Error(err)
		}
		asked.Wait()
		if n := failed.Load(); n > 0 {
			t.Errorf("%d of 60 requests failed", n)
		}
	})
}
