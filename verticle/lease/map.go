package lease

import (
	"context"
	"encoding/json"
	"fmt"
)

// A Map is a few values of one type that all nodes share: settings, assignments,
// who does what. It is one value of the store, encoded as a JSON object, so that
// [Map.All] sees one state of all of it, and its size is bounded by what the store
// takes for a value. It is no cache and no database: each call asks the store. Its
// methods may be called concurrently.
type Map[V any] struct {
	store Store
	name  string
}

// NewMap returns the map of that name, which is empty at first.
func NewMap[V any](store Store, name string) (*Map[V], error) {
	if err := checkStore(store); err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	return &Map[V]{store, name}, nil
}

// All returns all of the map, which is the caller's.
func (m *Map[V]) All(ctx context.Context) (map[string]V, error) {
	value, _, err := m.store.Get(ctx, mapPrefix+m.name)
	if err != nil {
		return nil, m.wrap(err)
	}
	all, err := m.decode(value)
	return all, m.wrap(err)
}

// Get returns the value of a key, and whether there is one.
func (m *Map[V]) Get(ctx context.Context, key string) (v V, ok bool, err error) {
	all, err := m.All(ctx)
	v, ok = all[key]
	return v, ok, err
}

// Set sets the value of a key.
func (m *Map[V]) Set(ctx context.Context, key string, value V) error {
	return m.Update(ctx, func(all map[string]V) error {
		all[key] = value
		return nil
	})
}

// Delete takes keys out; those that are not there are no error.
func (m *Map[V]) Delete(ctx context.Context, keys ...string) error {
	return m.Update(ctx, func(all map[string]V) error {
		for _, key := range keys {
			delete(all, key)
		}
		return nil
	})
}

// Update changes the map in one step: change gets all of it and changes it. It is
// called again, with what is there then, where others change the map at the same
// time, until ctx ends; an error of its ends Update, and changes nothing. If the
// store fails while it writes, the change may have been made.
func (m *Map[V]) Update(ctx context.Context, change func(all map[string]V) error) error {
	return m.wrap(update(ctx, m.store, mapPrefix+m.name, func(value []byte) ([]byte, error) {
		all, err := m.decode(value)
		if err != nil {
			return nil, err
		}
		if err := change(all); err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, nil
		}
		return json.Marshal(all)
	}))
}

func (m *Map[V]) decode(value []byte) (map[string]V, error) {
	all := map[string]V{}
	if len(value) == 0 {
		return all, nil
	}
	if err := json.Unmarshal(value, &all); err != nil {
		return nil, fmt.Errorf("%w: the store's value under %q is none of %T: %w", ErrMisconfigured, mapPrefix+m.name, all, err)
	}
	return all, nil
}

func (m *Map[V]) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("lease: map %q: %w", m.name, err)
}
