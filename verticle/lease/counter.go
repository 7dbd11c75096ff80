package lease

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// A Counter is a number in a store that all nodes share. Its methods may be called
// concurrently.
type Counter struct {
	store Store
	name  string
}

// NewCounter returns the counter of that name, which is 0 at first.
func NewCounter(store Store, name string) (*Counter, error) {
	if err := checkStore(store); err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	return &Counter{store, name}, nil
}

// Value returns the number.
func (c *Counter) Value(ctx context.Context) (int64, error) {
	value, _, err := c.store.Get(ctx, counterPrefix+c.name)
	if err != nil {
		return 0, fmt.Errorf("lease: counter %q: %w", c.name, err)
	}
	return c.parse(value)
}

// Add adds delta and returns the new number. It tries again where others add at
// the same time, until ctx ends. If the store fails while it writes, delta may have
// been added. An overflow is an error, and adds nothing.
func (c *Counter) Add(ctx context.Context, delta int64) (int64, error) {
	var sum int64
	err := update(ctx, c.store, counterPrefix+c.name, func(value []byte) ([]byte, error) {
		n, err := c.parse(value)
		if err != nil {
			return nil, err
		}
		if delta > 0 && n > math.MaxInt64-delta || delta < 0 && n < math.MinInt64-delta {
			return nil, fmt.Errorf("%d and %d are more than 64 bits hold", n, delta)
		}
		sum = n + delta
		return strconv.AppendInt(nil, sum, 10), nil
	})
	if err != nil {
		return 0, fmt.Errorf("lease: counter %q: %w", c.name, err)
	}
	return sum, nil
}

func (c *Counter) parse(value []byte) (int64, error) {
	if len(value) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: the store has no number under %q: %w", ErrMisconfigured, counterPrefix+c.name, err)
	}
	return n, nil
}

// update changes a value, trying again after a conflict. Where change returns nil
// and no error it deletes it.
func update(ctx context.Context, store Store, key string, change func(value []byte) ([]byte, error)) error {
	value, version, err := store.Get(ctx, key)
	for pause := time.Millisecond; err == nil; pause = min(2*pause, 100*time.Millisecond) {
		next, cerr := change(value)
		if cerr != nil {
			return cerr
		}
		err = put(ctx, store, key, next, version)
		var conflict *Conflict
		switch {
		case err == nil:
			return nil
		case errors.As(err, &conflict):
			value, version = conflict.Value, conflict.Version
		case errors.Is(err, ErrConflict):
			value, version, err = store.Get(ctx, key)
			continue
		default:
			return err
		}
		sleep(ctx, jitter(pause))
		err = ctx.Err()
	}
	return err
}

func put(ctx context.Context, store Store, key string, value []byte, version uint64) error {
	if value == nil && version == 0 {
		return nil
	}
	if value == nil {
		return store.Delete(ctx, key, version)
	}
	_, err := store.Put(ctx, key, value, version)
	return err
}

// jitter returns a duration of half of d to all of it.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
