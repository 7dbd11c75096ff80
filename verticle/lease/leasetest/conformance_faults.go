package leasetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/runrig-go/runrig/verticle/lease"
)

// shortTTL is that of the leases with which time has to pass: short, and long enough
// for a renewal on a busy machine.
const shortTTL = 2 * time.Second

// testFaults puts faults between a lease and the store.
func testFaults(t *testing.T, open func(t testing.TB) lease.Store) {
	for _, c := range []struct {
		name string
		f    func(t *testing.T, open func(t testing.TB) lease.Store)
	}{
		{"Away", testAway},
		{"LostReplies", testLostReplies},
		{"Slow", testSlow},
		{"Full", testFull},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait most of their time
			c.f(t, open)
		})
	}
}

func shortLock(t *testing.T, s lease.Store, name string) *lease.Lock {
	t.Helper()
	l, err := lease.NewLock(s, name, lease.WithTTL(shortTTL), lease.WithLogger(quiet))
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

// held returns an error if a lease is lost within d.
func held(h *lease.Held, d time.Duration) error {
	select {
	case <-h.Context().Done():
		return context.Cause(h.Context())
	case <-time.After(d):
		return nil
	}
}

// again runs a test in which a lease must be held until it succeeds, three times at
// most: a busy machine may keep the holder from renewing it in time.
func again(t *testing.T, test func(name string) error) {
	t.Helper()
	var err error
	for range 3 {
		if err = test(rand.Text()); err == nil {
			return
		}
	}
	t.Error(err)
}

// testAway has the store away from the holder for longer than the ttl: the holder
// stops before another begins, who has a higher fence.
func testAway(t *testing.T, open func(t testing.TB) lease.Store) {
	name, s := rand.Text(), NewStore(open(t))
	first := acquire(t, shortLock(t, s, name))
	s.SetAway(true)
	second := acquire(t, shortLock(t, open(t), name))
	if err := context.Cause(first.Context()); !errors.Is(err, lease.ErrLost) {
		t.Errorf("another has the lease, and the context of the first holder says %v", err)
	}
	if second.Fence() <= first.Fence() {
		t.Errorf("fence %d after %d", second.Fence(), first.Fence())
	}
	s.SetAway(false)
	_ = first.Release() // it has nothing to release any more
	release(t, second)
}

// testLostReplies loses the replies of writes that are done: they are read back.
func testLostReplies(t *testing.T, open func(t testing.TB) lease.Store) {
	again(t, func(name string) error {
		s := NewStore(open(t))
		s.LoseReplies(1)
		h := acquire(t, shortLock(t, s, name))
		s.LoseReplies(2)
		if err := held(h, shortTTL*5/4); err != nil {
			return err
		}
		s.LoseReplies(1)
		if err := h.Release(); err != nil {
			return err
		}
		next := acquire(t, shortLock(t, open(t), name))
		defer release(t, next)
		if next.Fence() != h.Fence()+1 {
			return fmt.Errorf("fence %d after %d, though nobody was in between", next.Fence(), h.Fence())
		}
		return nil
	})
}

// testSlow has each call take a tenth of the ttl.
func testSlow(t *testing.T, open func(t testing.TB) lease.Store) {
	again(t, func(name string) error {
		s := NewStore(open(t))
		s.SetDelay(shortTTL / 10)
		h := acquire(t, shortLock(t, s, name))
		return errors.Join(held(h, shortTTL*5/4), h.Release())
	})
}

// testFull has the store take no writes.
func testFull(t *testing.T, open func(t testing.TB) lease.Store) {
	name, s := rand.Text(), NewStore(open(t))
	l := shortLock(t, s, name)
	s.SetFull(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() { // until the context ends
		_, err := l.Acquire(ctx)
		result <- err
	}()
	for s.Counts().Puts < 2 && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-result; !errors.Is(err, ErrFull) {
		t.Errorf("Acquire returned %v; want the store's error", err)
	}
	s.SetFull(false)
	release(t, acquire(t, l))
}
