// Package redis keeps leases in Redis or Valkey, also in a cluster of them.
//
//	client := goredis.NewClient(&goredis.Options{Addr: "redis:6379"})
//	store, err := redis.New(client, "myapp:")
//	err = verticle.Run(ctx, eb, lease.Singleton(store, "scheduler", new(Scheduler)))
//
// A key is a hash of two fields, version and value, which a script of the server
// changes under a condition, so that a Put is one round trip. A change is also
// published at a channel with the key's name, for [Store.Watch]. A deleted key keeps
// its version for a week, so that no version comes twice.
//
// # What Redis may lose
//
// Redis answers before replicas have what was written, and by default before its own
// disk has. A replica that takes over after a failure, or a server that starts again
// from its file, may be some writes behind: a lease that one node was given may be
// given to another while the first holds it, with the same fence. What the fence
// protects must then refuse a fence that is equal and of another writer, too. The
// first holder ends with [lease.ErrLost] or [lease.ErrStaleStore] when it next renews
// the lease, within a third of the ttl. Where that is too much use a store that
// answers when a majority has the write: packages etcd, dynamodb and, with
// synchronous replicas, postgres.
//
// The server needs the policy noeviction, or one that spares keys without an expiry,
// and the user of the client the commands evalsha, eval, hmget, hset, hdel,
// persist, pexpire and publish on the prefix, and subscribe.
package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/runrig-go/runrig/verticle/lease"
)

// MaxValue is the most bytes that a value may have. Redis itself takes 512 MB.
const MaxValue = 16 << 20

// remembered is how long the version of a deleted key is kept.
const remembered = 7 * 24 * time.Hour

// Store is a [lease.Store], and a [lease.Watcher], in Redis.
type Store struct {
	client goredis.UniversalClient
	prefix string
}

// New returns a store whose keys begin with the prefix. The client stays the
// caller's, who closes it when the store is not used any more. Nothing is asked yet.
func New(client goredis.UniversalClient, prefix string) (*Store, error) {
	if client == nil {
		return nil, errors.New("lease/redis: nil client")
	}
	return &Store{client, prefix}, nil
}

// Get returns the value of a key and its version, in one round trip.
func (s *Store) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	fields, err := await(ctx, func() ([]any, error) { return s.client.HMGet(ctx, s.prefix+key, "version", "value").Result() })
	if err != nil {
		return nil, 0, s.wrap("get", key, err)
	}
	change, err := parse(fields[0], fields[1])
	if err != nil {
		return nil, 0, s.wrap("get", key, err)
	}
	return change.Value, change.Version, nil
}

// Put sets the value of a key whose version is old, in one round trip.
func (s *Store) Put(ctx context.Context, key string, value []byte, old uint64) (uint64, error) {
	if len(value) > MaxValue {
		return 0, s.wrap("put", key, fmt.Errorf("%w: the value has %d bytes; the limit is %d", lease.ErrMisconfigured, len(value), MaxValue))
	}
	change, err := s.change(ctx, putScript, key, old, value)
	if err != nil {
		return 0, s.wrap("put", key, err)
	}
	return change.Version, nil
}

// Delete makes a key absent whose version is old, in one round trip.
func (s *Store) Delete(ctx context.Context, key string, old uint64) error {
	_, err := s.change(ctx, deleteScript, key, old, remembered.Milliseconds())
	return s.wrap("delete", key, err)
}

//go:embed put.lua
var putText string

//go:embed delete.lua
var deleteText string

var (
	putScript    = script{putText, goredis.NewScript(putText).Hash()}
	deleteScript = script{deleteText, goredis.NewScript(deleteText).Hash()}
)

type script struct{ text, hash string }

// change runs a script, which the server is given when it does not know it.
func (s *Store) change(ctx context.Context, does script, key string, old uint64, arg any) (lease.Change, error) {
	run := func(command, which string) ([]any, error) {
		return await(ctx, func() ([]any, error) {
			cmd := once{goredis.NewCmd(ctx, command, which, 1, s.prefix+key, strconv.FormatUint(old, 10), arg)}
			_ = s.client.Process(ctx, cmd) // Slice returns its error
			return cmd.Slice()
		})
	}
	result, err := run("evalsha", does.hash)
	if goredis.HasErrorPrefix(err, "NOSCRIPT") {
		result, err = run("eval", does.text)
	}
	if err != nil {
		return lease.Change{}, err
	}
	change, err := parse(result[1], result[2])
	if err == nil && result[0] != int64(1) {
		err = &lease.Conflict{Key: key, Value: change.Value, Version: change.Version}
	}
	return change, err
}

// once is a command that the client does not send again: when its reply was lost it
// may have been done, and would be a conflict with itself.
type once struct{ *goredis.Cmd }

// NoRetry says so.
func (once) NoRetry() bool { return true }

// await returns what f returns, or the error of ctx if that ends first: go-redis may
// not look at it.
func await(ctx context.Context, f func() ([]any, error)) ([]any, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	type result struct {
		values []any
		err    error
	}
	done := make(chan result, 1)
	go func() { // ends with the client's time-outs
		values, err := f()
		done <- result{values, err}
	}()
	select {
	case r := <-done:
		return r.values, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// parse reads the two fields of a key. One without a value is absent.
func parse(version, value any) (lease.Change, error) {
	text, ok := value.(string)
	if !ok {
		return lease.Change{}, nil
	}
	n, err := strconv.ParseUint(fmt.Sprint(version), 10, 64)
	if err != nil || n == 0 {
		return lease.Change{}, fmt.Errorf("%w: its field version is %v, which no Put of this package has written", lease.ErrMisconfigured, version)
	}
	return lease.Change{Value: []byte(text), Version: n}, nil
}

// wrap says what failed where, and whether somebody has to mend the set-up.
func (s *Store) wrap(verb, key string, err error) error {
	if err == nil {
		return nil
	}
	at := "Redis"
	if c, ok := s.client.(fmt.Stringer); ok {
		at = c.String()
	}
	if setup := wrongSetup(err); setup != "" {
		return fmt.Errorf("lease/redis: %s %q at %s: %w: %s: %w", verb, s.prefix+key, at, lease.ErrMisconfigured, setup, err)
	}
	return fmt.Errorf("lease/redis: %s %q at %s: %w", verb, s.prefix+key, at, err)
}

// wrongSetup says what somebody has to mend, if that is what err is about.
func wrongSetup(err error) string {
	switch {
	case goredis.IsPermissionError(err), strings.Contains(err.Error(), "user executing the script"):
		return "the client's user needs evalsha, eval, hmget, hset, hdel, persist, pexpire, publish and subscribe on the prefix"
	case goredis.IsAuthError(err):
		return "the client's name or password is wrong"
	case strings.Contains(err.Error(), "WRONGTYPE"): // of a command, or within a script's error
		return "the key is somebody else's; choose another prefix"
	}
	return ""
}
