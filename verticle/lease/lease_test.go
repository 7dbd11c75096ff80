package lease_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/verticle/lease"
	"github.com/runrig-go/runrig/verticle/lease/leasetest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

const ttl = 10 * time.Second

// nodes runs a test in virtual time on n views of one store.
func nodes(t *testing.T, n int, f func(t *testing.T, m *lease.Memory, s []*leasetest.Store)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := new(lease.Memory)
		var stores []*leasetest.Store
		for range n {
			stores = append(stores, leasetest.NewStore(m))
		}
		f(t, m, stores)
	})
}

func newLock(t *testing.T, s lease.Store, opts ...lease.Option) *lease.Lock {
	t.Helper()
	l, err := lease.NewLock(s, "it", append([]lease.Option{lease.WithLogger(quiet)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func acquire(t *testing.T, l *lease.Lock) *lease.Held {
	t.Helper()
	h, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func release(t *testing.T, h *lease.Held) {
	t.Helper()
	if err := h.Release(); err != nil {
		t.Error(err)
	}
}

// A holder that is cut off from the store knows it before another has the lease,
// which is a ttl after its last renewal.
func TestLostToTheStore(t *testing.T) {
	nodes(t, 2, func(t *testing.T, _ *lease.Memory, s []*leasetest.Store) {
		h := acquire(t, newLock(t, s[0]))
		time.Sleep(time.Minute)
		if err := h.Context().Err(); err != nil {
			t.Fatalf("the lease ended while all was well: %v", context.Cause(h.Context()))
		}
		s[0].SetAway(true)
		cut := time.Now()
		next := make(chan time.Duration)
		go func() { // until it has the lease
			second := acquire(t, newLock(t, s[1]))
			next <- time.Since(cut)
			release(t, second)
		}()
		<-h.Context().Done()
		if lost := time.Since(cut); lost > ttl*3/4 {
			t.Errorf("the holder knew after %v; its last renewal was before", lost)
		}
		if !errors.Is(context.Cause(h.Context()), lease.ErrLost) {
			t.Errorf("the cause is %v", context.Cause(h.Context()))
		}
		if took := <-next; took > ttl+time.Second {
			t.Errorf("the next one took %v; want the ttl and a second", took)
		}
		if err := h.Release(); err == nil {
			t.Error("a lease was released at a store that is away")
		}
	})
}

// Writes whose replies are lost are read back.
func TestLostReplies(t *testing.T) {
	nodes(t, 1, func(t *testing.T, m *lease.Memory, s []*leasetest.Store) {
		l := newLock(t, s[0])
		s[0].LoseReplies(1)
		h := acquire(t, l)
		if h.Fence() != 1 {
			t.Errorf("fence %d; the first bid was won", h.Fence())
		}
		for range 20 {
			s[0].LoseReplies(1)
			time.Sleep(ttl / 3)
		}
		if h.Context().Err() != nil {
			t.Errorf("the lease was lost: %v", context.Cause(h.Context()))
		}
		s[0].LoseReplies(1)
		release(t, h)
		second := acquire(t, newLock(t, leasetest.NewStore(m)))
		if second.Fence() != 2 {
			t.Errorf("fence %d after 1", second.Fence())
		}
		release(t, second)
	})
}

// A slow store costs time and nothing else, up to a quarter of the ttl for a call.
func TestSlowStore(t *testing.T) {
	nodes(t, 2, func(t *testing.T, _ *lease.Memory, s []*leasetest.Store) {
		for _, s := range s {
			s.SetDelay(2 * time.Second)
		}
		h := acquire(t, newLock(t, s[0]))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := newLock(t, s[1]).Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second one got %v", err)
		}
		if h.Context().Err() != nil {
			t.Errorf("the lease was lost: %v", context.Cause(h.Context()))
		}
		release(t, h)
	})
}

// What a held lease costs: a write each third of the ttl; one who waits reads as
// often as it is told to.
func TestCost(t *testing.T) {
	nodes(t, 2, func(t *testing.T, _ *lease.Memory, s []*leasetest.Store) {
		h := acquire(t, newLock(t, s[0]))
		holder, waits := s[0].Counts(), s[1].Counts()
		ctx, cancel := context.WithTimeout(t.Context(), 100*ttl)
		defer cancel()
		_, _ = newLock(t, s[1], lease.WithPoll(ttl)).Acquire(ctx)
		holder2, waits2 := s[0].Counts(), s[1].Counts()
		if n := holder2.Puts - holder.Puts; n > 301 || holder2.Gets != holder.Gets {
			t.Errorf("the holder wrote %d and read %d times in 100 ttl; want 300 and 0", n, holder2.Gets-holder.Gets)
		}
		if n := waits2.Gets - waits.Gets; n > 101 || waits2.Puts != waits.Puts {
			t.Errorf("who waits read %d and wrote %d times in 100 ttl; want 100 and 0", n, waits2.Puts-waits.Puts)
		}
		release(t, h)
	})
}

// Ten thousand wait for one lock, in twenty processes, and each has it once, alone.
func TestManyWaiters(t *testing.T) {
	nodes(t, 20, func(t *testing.T, m *lease.Memory, _ []*leasetest.Store) {
		const waiters = 500 // of each process
		var wg sync.WaitGroup
		var inside, had atomic.Int32
		var last uint64 // guarded by the lock
		for range 20 {
			l := newLock(t, m)
			for range waiters {
				wg.Go(func() {
					err := l.Do(t.Context(), func(_ context.Context, fence uint64) error {
						if inside.Add(1) != 1 || fence <= last {
							t.Errorf("another is inside, or fence %d comes after %d", fence, last)
						}
						last = fence
						had.Add(1)
						inside.Add(-1)
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if n := had.Load(); n != 20*waiters {
			t.Errorf("%d had the lock", n)
		}
	})
}

// A store that goes back ends the lease, loudly.
func TestStoreGoesBack(t *testing.T) {
	nodes(t, 1, func(t *testing.T, m *lease.Memory, s []*leasetest.Store) {
		l := newLock(t, s[0])
		h := acquire(t, l)
		value, version, _ := m.Get(t.Context(), "lease/it")
		if err := m.Delete(t.Context(), "lease/it", version); err != nil {
			t.Fatal(err)
		}
		_ = value
		<-h.Context().Done()
		if err := context.Cause(h.Context()); !errors.Is(err, lease.ErrStaleStore) || !strings.Contains(err.Error(), `"it"`) {
			t.Errorf("the lease ended with %v", err)
		}
		_ = h.Release()
		again, err := l.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if again.Fence() != 2 {
			t.Errorf("fence %d after 1", again.Fence())
		}
		release(t, again)
	})
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	m := new(lease.Memory)
	var none *lease.Memory
	for _, c := range []struct {
		what  string
		store lease.Store
		name  string
		opts  []lease.Option
		want  string
	}{
		{"nil store", nil, "x", nil, "nil Store"},
		{"typed nil store", none, "x", nil, "nil *lease.Memory"},
		{"no name", m, "", nil, "empty name"},
		{"long name", m, strings.Repeat("x", 201), nil, "201 bytes; the limit is 200"},
		{"name with a line end", m, "a\nb", nil, "control character"},
		{"name that is no text", m, "a\xff", nil, "not UTF-8"},
		{"short ttl", m, "x", []lease.Option{lease.WithTTL(999 * time.Millisecond)}, "from 1s to 24h0m0s"},
		{"long ttl", m, "x", []lease.Option{lease.WithTTL(25 * time.Hour)}, "from 1s to 24h0m0s"},
		{"margin", m, "x", []lease.Option{lease.WithMargin(6 * time.Second)}, "over half of the ttl"},
		{"no margin", m, "x", []lease.Option{lease.WithMargin(-1)}, "positive"},
		{"poll", m, "x", []lease.Option{lease.WithPoll(0)}, "10 ms"},
		{"nil option", m, "x", []lease.Option{nil}, "nil Option"},
		{"nil logger", m, "x", []lease.Option{lease.WithLogger(nil)}, "nil logger"},
	} {
		err := lease.Run(t.Context(), c.store, c.name, func(context.Context, uint64) error {
			return errors.New("it ran")
		}, c.opts...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.what, err, c.want)
		}
	}
}

func TestRun(t *testing.T) {
	nodes(t, 1, func(t *testing.T, _ *lease.Memory, s []*leasetest.Store) {
		mine := fmt.Errorf("mine")
		ran := 0
		run := func() error {
			return lease.Run(t.Context(), s[0], "it", func(ctx context.Context, fence uint64) error {
				if ran++; fence != uint64(ran) || lease.Fence(ctx) != fence {
					t.Errorf("fence %d, by the context %d; want %d", fence, lease.Fence(ctx), ran)
				}
				return mine
			})
		}
		for range 3 {
			if err := run(); err != mine {
				t.Errorf("Run returned %v", err)
			}
		}
	})
}

// A store that takes no writes is tried now and then, and said to be so.
func TestStoreTakesNoWrites(t *testing.T) {
	nodes(t, 2, func(t *testing.T, _ *lease.Memory, s []*leasetest.Store) {
		h := acquire(t, newLock(t, s[0]))
		for _, s := range s {
			s.SetFull(true)
		}
		before := s[1].Counts()
		ctx, cancel := context.WithTimeout(t.Context(), 10*ttl)
		defer cancel()
		_, err := newLock(t, s[1]).Acquire(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, leasetest.ErrFull) {
			t.Errorf("a second one got %v; want the store's error, too", err)
		}
		if n := s[1].Counts().Puts - before.Puts; n == 0 || n > 10*20 {
			t.Errorf("it was tried %d times in 10 ttl", n)
		}
		if err := h.Release(); !errors.Is(err, leasetest.ErrFull) {
			t.Errorf("Release returned %v", err)
		}
	})
}
