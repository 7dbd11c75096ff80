package leasetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/runrig-go/runrig/verticle/lease"
)

// ErrAway is what a [Store] that is away returns.
var ErrAway = errors.New("leasetest: the store is away")

// Store is a store with faults, as one node sees it: several may share the one
// below, and fail apart from each other. Its methods may be called concurrently.
type Store struct {
	below lease.Store

	mu     sync.Mutex
	away   bool
	mute   int // replies to lose
	full   bool
	delay  time.Duration
	counts Counts
}

// Counts is what a [Store] was asked.
type Counts struct{ Gets, Puts, Deletes int }

// NewStore returns a store without faults, yet. What it does is done by the one
// below; it watches as little as a store that cannot.
func NewStore(below lease.Store) *Store { return &Store{below: below} }

// SetAway makes the store away, or brings it back: calls do nothing, and fail when
// their context ends.
func (s *Store) SetAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// LoseReplies makes the next n writes succeed without telling: they fail.
func (s *Store) LoseReplies(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = n
}

// ErrFull is what a write to a [Store] returns that takes none.
var ErrFull = errors.New("leasetest: the store takes no writes")

// SetFull makes writes fail at once, without being done, or lets them be done again.
func (s *Store) SetFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// SetDelay makes each call take so long, half of it on each way.
func (s *Store) SetDelay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// Counts returns what the store was asked so far.
func (s *Store) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Get returns the value of a key and its version.
func (s *Store) Get(ctx context.Context, key string) (value []byte, version uint64, err error) {
	err = s.call(ctx, func(c *Counts) { c.Gets++ }, false, func() error {
		value, version, err = s.below.Get(context.WithoutCancel(ctx), key)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return value, version, nil
}

// Put sets the value of a key whose version is old.
func (s *Store) Put(ctx context.Context, key string, value []byte, old uint64) (version uint64, err error) {
	err = s.call(ctx, func(c *Counts) { c.Puts++ }, true, func() error {
		version, err = s.below.Put(context.WithoutCancel(ctx), key, value, old)
		return err
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

// Delete makes a key absent whose version is old.
func (s *Store) Delete(ctx context.Context, key string, old uint64) error {
	return s.call(ctx, func(c *Counts) { c.Deletes++ }, true, func() error {
		return s.below.Delete(context.WithoutCancel(ctx), key, old)
	})
}

// call calls f, as far as the faults let it. What is on its way when ctx ends still
// happens.
func (s *Store) call(ctx context.Context, count func(*Counts), writes bool, f func() error) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("leasetest: %w", err)
	}
	s.mu.Lock()
	count(&s.counts)
	away, delay := s.away, s.delay
	mute, full := writes && s.mute > 0, writes && s.full
	if mute {
		s.mute--
	}
	s.mu.Unlock()
	if full {
		return ErrFull
	}
	if away {
		<-ctx.Done()
		return fmt.Errorf("%w: %w", ErrAway, context.Cause(ctx))
	}
	result := make(chan error, 1)
	at := func() { result <- f() }
	if delay == 0 {
		at()
	} else {
		time.AfterFunc(delay/2, at)
	}
	select {
	case err := <-result:
		if err == nil && mute {
			return errors.New("leasetest: the reply was lost")
		}
		return late(ctx, delay/2, err)
	case <-ctx.Done():
		return fmt.Errorf("leasetest: the store is slow: %w", context.Cause(ctx))
	}
}

// late returns err after d, unless ctx ends before.
func late(ctx context.Context, d time.Duration, err error) error {
	if d == 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return err
	case <-ctx.Done():
		return fmt.Errorf("leasetest: the store is slow: %w", context.Cause(ctx))
	}
}
