package lease

import (
	"context"
	"errors"
	"fmt"
)

// A Store keeps values under keys, each with a version, and changes them only
// under a condition. All else in this package is built on it, so it must be
// linearizable for each key: a Get returns what the last Put that has returned
// before it left, whichever process called that. Package leasetest has the tests
// that a Store must pass.
//
// Its methods may be called concurrently, and return when ctx ends, at the
// latest. A Put or Delete whose error is neither [ErrConflict] nor
// [ErrMisconfigured] may have happened, and may yet happen. Errors should name the
// store and the key. A Store keeps neither keys nor values of its caller's.
type Store interface {
	// Get returns the value of a key and its version, which is 0 if the key is
	// absent. The value is the caller's.
	Get(ctx context.Context, key string) (value []byte, version uint64, err error)

	// Put sets the value of a key whose version is old, 0 for one that is absent,
	// and returns the new version, which is higher. If the version is another it
	// changes nothing and returns an error that matches ErrConflict: a *Conflict
	// where the store knows what is there.
	Put(ctx context.Context, key string, value []byte, old uint64) (version uint64, err error)

	// Delete makes a key absent whose version is old. If that is another it
	// changes nothing and returns an error as Put does. What is put there later
	// has a version that the key has not had before.
	Delete(ctx context.Context, key string, old uint64) error
}

// A Watcher is a [Store] that tells how a key changes. That saves the reads of
// those who wait, and time.
type Watcher interface {
	// Watch returns a channel that gets what the key has become, soon after each
	// change; where several changes come at once the last one will do. It ends
	// with ctx, or earlier, by closing the channel: those who wait then read now
	// and then, as if the store could not watch.
	Watch(ctx context.Context, key string) (<-chan Change, error)
}

// A Change is what a key has become.
type Change struct {
	Value   []byte
	Version uint64 // 0: the key is absent
}

var (
	// ErrConflict says that a key has another version than was expected.
	ErrConflict = errors.New("lease: version conflict")

	// ErrMisconfigured says that a store cannot work as it is set up: a missing
	// table, a missing permission, a value over the store's limit. Somebody has to
	// mend that, so what this package waits for otherwise ends with the error.
	ErrMisconfigured = errors.New("lease: misconfigured")

	// ErrLost says that a lease was lost while it was held: it could not be
	// renewed in time, or another has it.
	ErrLost = errors.New("lease: lost")

	// ErrStaleStore says that a store has returned an older state than it had
	// returned before: it lost writes, or is none that this package can work with.
	ErrStaleStore = errors.New("lease: the store has gone back")
)

// A Conflict is an [ErrConflict] with what the store has under the key.
type Conflict struct {
	Key     string
	Value   []byte
	Version uint64 // 0: the key is absent
}

// Error names the key and the version that is there.
func (c *Conflict) Error() string {
	return fmt.Sprintf("lease: version conflict at %q, which has version %d", c.Key, c.Version)
}

// Is reports whether target is ErrConflict.
func (c *Conflict) Is(target error) bool { return target == ErrConflict }
