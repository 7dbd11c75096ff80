package lease

import (
	"context"
	"errors"
	"fmt"

	"github.com/runrig-go/runrig/verticle/internal/guard"
)

// A Lock is a lease to be taken again and again: one at a time in the cluster
// runs what it protects. Its methods may be called concurrently; those that wait
// in one process for one Lock take turns, first come first served, and only one
// of them asks the store. So a process should have one Lock for a name.
//
// A Lock protects what checks the fence. It does not protect against a holder
// whose process was stopped and goes on: see [Held.Fence].
type Lock struct {
	turn chan struct{} // of one: taken while one waits for the lease or holds it
	c    *claim        // of who has the turn
}

// NewLock returns the lock of that name in the store. Bad names and options are an
// error; the store is not asked yet. A lock, a [Run] and a [Singleton] of one name
// are one lease.
func NewLock(store Store, name string, opts ...Option) (*Lock, error) {
	c, err := newClaim(store, name, opts)
	if err != nil {
		return nil, err
	}
	c.log = guard.Logger(c.log)
	return &Lock{turn: make(chan struct{}, 1), c: c}, nil
}

// Acquire waits until the lease is held, or ctx ends, whose error it returns then,
// with that of the store if there was one. Errors that match [ErrMisconfigured] or
// [ErrStaleStore] end the wait. After the end of ctx it may take as long as the store
// takes to answer a bid that is under way, half of the ttl at most, and to take back
// what that has won: nothing is left in the store. ctx does not bound how long the lease
// is held.
func (l *Lock) Acquire(ctx context.Context) (*Held, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("lease %q: %w", l.c.name, context.Cause(ctx))
	}
	h, err := l.c.acquire(ctx)
	if err != nil {
		<-l.turn
		return nil, err
	}
	h.after = func() { <-l.turn }
	return h, nil
}

// Do runs f while the lease is held, and releases it when f has returned. The
// context of f ends with ctx, and when the lease is lost; f must then return. Do
// returns the error of f, joined with [ErrLost] if the lease was lost before f
// returned, or the error of [Lock.Acquire].
func (l *Lock) Do(ctx context.Context, f func(ctx context.Context, fence uint64) error) error {
	h, err := l.Acquire(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err := h.Release(); err != nil {
			l.c.log.Warn("a lease was not released", "lease", l.c.name, "err", err)
		}
	}()
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.ctx, func() { cancel(context.Cause(h.ctx)) })()
	err = f(withFence(within, h.fence), h.fence)
	if lost := context.Cause(h.ctx); errors.Is(lost, ErrLost) {
		return errors.Join(err, lost)
	}
	return err
}

// Run is [Lock.Do] of a lock of that name: it waits until this process holds the
// lease, or ctx ends, and runs f under it, once.
func Run(ctx context.Context, store Store, name string, f func(ctx context.Context, fence uint64) error, opts ...Option) error {
	l, err := NewLock(store, name, opts...)
	if err != nil {
		return err
	}
	return l.Do(ctx, f)
}

type fenceKey struct{}

func withFence(ctx context.Context, fence uint64) context.Context {
	return context.WithValue(ctx, fenceKey{}, fence)
}

// Fence returns the fence of the lease under which a function of [Run] or
// [Lock.Do] runs, or a verticle of [Singleton] is started, from its context; 0 if
// there is none.
func Fence(ctx context.Context) uint64 {
	fence, _ := ctx.Value(fenceKey{}).(uint64)
	return fence
}
