package lease

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Memory is a [Store], and a [Watcher], in the memory of this process: for tests,
// and for programs of one process. Its zero value is empty and ready to use.
type Memory struct {
	mu      sync.Mutex
	version uint64 // of the last change, to whichever key
	entries map[string]entry
	watches map[string][]chan Change
}

type entry struct {
	value   []byte
	version uint64
}

// Get returns the value of a key and its version.
func (m *Memory) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, fmt.Errorf("lease: reading %q from memory: %w", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[key]
	return slices.Clone(e.value), e.version, nil
}

// Put sets the value of a key whose version is old.
func (m *Memory) Put(ctx context.Context, key string, value []byte, old uint64) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("lease: writing %q to memory: %w", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkLocked(key, old); err != nil {
		return 0, err
	}
	if m.entries == nil {
		m.entries = map[string]entry{}
	}
	m.version++
	m.entries[key] = entry{slices.Clone(value), m.version}
	m.tellLocked(key)
	return m.version, nil
}

// Delete makes a key absent whose version is old.
func (m *Memory) Delete(ctx context.Context, key string, old uint64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("lease: deleting %q from memory: %w", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkLocked(key, old); err != nil {
		return err
	}
	delete(m.entries, key)
	m.tellLocked(key)
	return nil
}

func (m *Memory) checkLocked(key string, old uint64) error {
	if e := m.entries[key]; e.version != old {
		return &Conflict{Key: key, Value: slices.Clone(e.value), Version: e.version}
	}
	return nil
}

func (m *Memory) tellLocked(key string) {
	e := m.entries[key]
	for _, c := range m.watches[key] {
		select {
		case <-c: // what nobody has taken is out of date
		default:
		}
		c <- Change{slices.Clone(e.value), e.version} // there is room: only this sends
	}
}

// Watch returns a channel that tells what the key has become.
func (m *Memory) Watch(ctx context.Context, key string) (<-chan Change, error) {
	c := make(chan Change, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watches == nil {
		m.watches = map[string][]chan Change{}
	}
	m.watches[key] = append(m.watches[key], c)
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		left := slices.DeleteFunc(m.watches[key], func(o chan Change) bool { return o == c })
		if m.watches[key] = left; len(left) == 0 {
			delete(m.watches, key)
		}
		close(c)
	})
	return c, nil
}
