package leasetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/verticle/lease"
)

// Conformance tests that a store keeps what [lease.Store] promises, and that leases
// work on it. It may be called for a store that others use: all keys are new.
// open returns the store as another process would: for a store over a network, with
// connections of its own.
func Conformance(t *testing.T, open func(t testing.TB) lease.Store) {
	for _, c := range []struct {
		name string
		f    func(t *testing.T, open func(t testing.TB) lease.Store)
	}{
		{"Absent", testAbsent},
		{"Put", testPut},
		{"Values", testValues},
		{"Delete", testDelete},
		{"Context", testContext},
		{"Linearizable", testLinearizable},
		{"Watch", testWatch},
		{"HandOver", testHandOver},
		{"OneAtATime", testOneAtATime},
		{"GiveUp", testGiveUp},
		{"Counter", testCounter},
	} {
		t.Run(c.name, func(t *testing.T) { c.f(t, open) })
	}
	t.Run("Faults", func(t *testing.T) { testFaults(t, open) })
}

var quiet = slog.New(slog.DiscardHandler)

func newKey() string { return "conformance/" + rand.Text() }

func get(t *testing.T, s lease.Store, key string) ([]byte, uint64) {
	t.Helper()
	value, version, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return value, version
}

func put(t *testing.T, s lease.Store, key, value string, old uint64) uint64 {
	t.Helper()
	version, err := s.Put(t.Context(), key, []byte(value), old)
	if err != nil {
		t.Fatalf("Put of %q over version %d: %v", value, old, err)
	}
	if version <= old {
		t.Fatalf("Put over version %d made version %d", old, version)
	}
	return version
}

// wantConflict wants err to be a conflict, and right about what is there if it
// tells.
func wantConflict(t *testing.T, err error, value string, version uint64) {
	t.Helper()
	if !errors.Is(err, lease.ErrConflict) {
		t.Fatalf("error %v; want ErrConflict", err)
	}
	if c := (*lease.Conflict)(nil); errors.As(err, &c) && (string(c.Value) != value || c.Version != version) {
		t.Errorf("the conflict tells of %q, version %d; want %q, version %d", c.Value, c.Version, value, version)
	}
}

func testAbsent(t *testing.T, open func(t testing.TB) lease.Store) {
	s, key := open(t), newKey()
	if value, version := get(t, s, key); version != 0 || len(value) != 0 {
		t.Errorf("an absent key has %q, version %d", value, version)
	}
	_, err := s.Put(t.Context(), key, []byte("x"), 7)
	wantConflict(t, err, "", 0)
	wantConflict(t, s.Delete(t.Context(), key, 7), "", 0)
	if _, version := get(t, s, key); version != 0 {
		t.Errorf("what failed has made version %d", version)
	}
}

func testPut(t *testing.T, open func(t testing.TB) lease.Store) {
	s, other, key := open(t), open(t), newKey()
	first := put(t, s, key, "one", 0)
	second := put(t, other, key, "two", first)
	for _, old := range []uint64{0, first, second + 1} {
		_, err := s.Put(t.Context(), key, []byte("no"), old)
		wantConflict(t, err, "two", second)
	}
	if value, version := get(t, s, key); string(value) != "two" || version != second {
		t.Errorf("there is %q, version %d; want %q, version %d", value, version, "two", second)
	}
}

func testValues(t *testing.T, open func(t testing.TB) lease.Store) {
	s, key, version := open(t), newKey(), uint64(0)
	binary := make([]byte, 4096)
	_, _ = rand.Read(binary)
	for _, value := range [][]byte{binary, []byte("{}"), {0}, binary[:1000]} {
		sent := bytes.Clone(value)
		var err error
		if version, err = s.Put(t.Context(), key, sent, version); err != nil {
			t.Fatalf("Put of %d bytes: %v", len(value), err)
		}
		clear(sent) // the store must not keep it
		for range 2 {
			got, v := get(t, s, key)
			if !bytes.Equal(got, value) || v != version {
				t.Fatalf("Get after Put of %d bytes returned %d others, version %d of %d", len(value), len(got), v, version)
			}
			clear(got) // it is the caller's
		}
	}
}

func testDelete(t *testing.T, open func(t testing.TB) lease.Store) {
	s, key := open(t), newKey()
	first := put(t, s, key, "one", 0)
	second := put(t, s, key, "two", first)
	wantConflict(t, s.Delete(t.Context(), key, first), "two", second)
	if err := s.Delete(t.Context(), key, second); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	if _, version := get(t, s, key); version != 0 {
		t.Errorf("a deleted key has version %d", version)
	}
	_, err := s.Put(t.Context(), key, []byte("x"), second)
	wantConflict(t, err, "", 0)
	if again := put(t, s, key, "again", 0); again == first || again == second {
		t.Errorf("version %d is that of another value, too, before the key was deleted", again)
	}
}

func testContext(t *testing.T, open func(t testing.TB) lease.Store) {
	s, key := open(t), newKey()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Get(ctx, key); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v; want the context's error", err)
	}
	if _, err := s.Put(ctx, key, nil, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v; want the context's error", err)
	}
}

const contenders = 16

// An op is a call that has returned: it was under way from began to ended.
type op struct {
	began, ended time.Time
	write        bool
	old, version uint64
	value        string
}

// testLinearizable has contenders change a key, and checks that what they saw is
// what one after the other would have seen. For values that each have a version,
// which rises, that is the case if each version was written once, over the one
// before, was read as it was written, and no call saw an older one than a call that
// had returned before it began.
func testLinearizable(t *testing.T, open func(t testing.TB) lease.Store) {
	key := newKey()
	var mu sync.Mutex
	var ops []op
	var wg sync.WaitGroup
	for i := range contenders {
		s := open(t)
		wg.Go(func() {
			for n := range 10 {
				seen := increment(t, s, key, fmt.Sprintf("%d/%d", i, n))
				mu.Lock()
				ops = append(ops, seen...)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	written := map[uint64]op{0: {}}
	over := map[uint64]bool{}
	for _, o := range ops {
		if !o.write {
			continue
		}
		if _, twice := written[o.version]; twice || over[o.old] {
			t.Errorf("version %d was written twice, or over version %d", o.version, o.old)
		}
		written[o.version], over[o.old] = o, true
	}
	for _, o := range ops {
		w, ok := written[o.version]
		if !ok || w.value != o.value || w.began.After(o.ended) {
			t.Errorf("version %d was seen as %q; it was written as %q, or is nobody's", o.version, o.value, w.value)
		}
		for _, before := range ops {
			if before.ended.Before(o.began) && before.version > o.version {
				t.Errorf("version %d was seen after version %d", o.version, before.version)
			}
		}
	}
	if want := contenders*10 + 1; len(written) != want {
		t.Errorf("%d versions were written; want %d", len(written), want)
	}
}

// increment writes a value over whatever is there, and returns what it saw.
func increment(t *testing.T, s lease.Store, key, value string) (ops []op) {
	for {
		began := time.Now()
		was, old, err := s.Get(t.Context(), key)
		if err != nil {
			t.Errorf("Get: %v", err)
			return ops
		}
		ops = append(ops, op{began: began, ended: time.Now(), version: old, value: string(was)})
		began = time.Now()
		version, err := s.Put(t.Context(), key, []byte(value), old)
		switch {
		case err == nil:
			return append(ops, op{began, time.Now(), true, old, version, value})
		case !errors.Is(err, lease.ErrConflict):
			t.Errorf("Put: %v", err)
			return ops
		}
	}
}

func testWatch(t *testing.T, open func(t testing.TB) lease.Store) {
	s, key := open(t), newKey()
	w, ok := s.(lease.Watcher)
	if !ok {
		t.Skipf("%T is no Watcher", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	changes, err := w.Watch(ctx, key)
	if err != nil {
		t.Fatalf("Watch: %v", err)
	}
	version := uint64(0)
	for _, value := range []string{"one", "two", "three"} {
		version = put(t, open(t), key, value, version)
		for {
			c, ok := <-changes
			if !ok {
				t.Fatalf("the watch ended before it told of version %d", version)
			}
			if c.Version == version && string(c.Value) == value {
				break
			}
		}
	}
	cancel()
	for range changes { // until it is closed
	}
}

// testHandOver wants a lease that is released to be had at once, in one of a few
// attempts: a busy machine is late, too, and not each time.
func testHandOver(t *testing.T, open func(t testing.TB) lease.Store) {
	var took time.Duration
	for range 5 {
		if took = handOver(t, open); t.Failed() || took <= time.Second {
			return
		}
	}
	t.Errorf("the next one had the lease %v after it was released; want a second", took)
}

// handOver returns how long after the release of a lease the next one had it.
func handOver(t *testing.T, open func(t testing.TB) lease.Store) time.Duration {
	name := rand.Text()
	holder, next := newLock(t, open(t), name), newLock(t, open(t), name)
	h, err := holder.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *lease.Held)
	go func() { // until it holds the lease
		h, err := next.Acquire(t.Context())
		if err != nil {
			t.Error(err)
		}
		got <- h
	}()
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	second := <-got
	took := time.Since(began)
	if second == nil {
		return took
	}
	defer func() {
		if err := second.Release(); err != nil {
			t.Error(err)
		}
	}()
	if second.Fence() <= h.Fence() {
		t.Errorf("fence %d after %d", second.Fence(), h.Fence())
	}
	return took
}

func newLock(t *testing.T, s lease.Store, name string) *lease.Lock {
	t.Helper()
	l, err := lease.NewLock(s, name, lease.WithPoll(50*time.Millisecond), lease.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// testOneAtATime has many want one lock in several processes at once.
func testOneAtATime(t *testing.T, open func(t testing.TB) lease.Store) {
	name := rand.Text()
	var mu sync.Mutex
	inside, last := 0, uint64(0)
	var wg sync.WaitGroup
	for range 4 {
		l := newLock(t, open(t), name)
		for range 5 {
			wg.Go(func() {
				err := l.Do(t.Context(), func(_ context.Context, fence uint64) error {
					mu.Lock()
					inside++
					if inside != 1 || fence <= last {
						t.Errorf("%d hold the lock; fence %d after %d", inside, fence, last)
					}
					last = fence
					mu.Unlock()
					mu.Lock()
					defer mu.Unlock()
					inside--
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

// testGiveUp has many wait for a lock and give up: nothing of them is left.
func testGiveUp(t *testing.T, open func(t testing.TB) lease.Store) {
	name := rand.Text()
	l := newLock(t, open(t), name)
	h, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for range 10_000 {
		wg.Go(func() {
			if _, err := l.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a waiter that gave up got %v", err)
			}
		})
	}
	wg.Wait()
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	h, err = newLock(t, open(t), name).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Release(); err != nil {
		t.Error(err)
	}
}

func testCounter(t *testing.T, open func(t testing.TB) lease.Store) {
	name := rand.Text()
	var wg sync.WaitGroup
	for range 8 {
		c, err := lease.NewCounter(open(t), name)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range 10 {
				if _, err := c.Add(t.Context(), 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c, _ := lease.NewCounter(open(t), name)
	if n, err := c.Value(t.Context()); n != 80 || err != nil {
		t.Errorf("the counter is %d, %v; want 80", n, err)
	}
}
