package lease

import (
	"context"

	"github.com/runrig-go/runrig/verticle/internal/guard"
)

// guarded is a store whose panics are errors: a lease is kept on a goroutine of this
// package.
type guarded struct{ Store }

// guardedWatcher is one that watches.
type guardedWatcher struct {
	guarded
	watcher Watcher
}

func guardStore(s Store) Store {
	if w, ok := s.(Watcher); ok {
		return guardedWatcher{guarded{s}, w}
	}
	return guarded{s}
}

// Get gets from the store.
func (g guarded) Get(ctx context.Context, key string) (value []byte, version uint64, err error) {
	err = guard.Call("Get of the Store", func() (err error) {
		value, version, err = g.Store.Get(ctx, key)
		return err
	})
	return value, version, err
}

// Put puts into the store. After a panic it may have happened, as after an error.
func (g guarded) Put(ctx context.Context, key string, value []byte, old uint64) (version uint64, err error) {
	err = guard.Call("Put of the Store", func() (err error) {
		version, err = g.Store.Put(ctx, key, value, old)
		return err
	})
	return version, err
}

// Delete deletes from the store.
func (g guarded) Delete(ctx context.Context, key string, old uint64) error {
	return guard.Call("Delete of the Store", func() error { return g.Store.Delete(ctx, key, old) })
}

// Watch watches the store.
func (g guardedWatcher) Watch(ctx context.Context, key string) (changes <-chan Change, err error) {
	err = guard.Call("Watch of the Store", func() (err error) {
		changes, err = g.watcher.Watch(ctx, key)
		return err
	})
	return changes, err
}
