// Package etcd keeps leases in etcd.
//
//	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"https://etcd:2379"}})
//	store, err := etcd.New(client, "/myapp/")
//	err = verticle.Run(ctx, eb, lease.Singleton(store, "scheduler", new(Scheduler)))
//
// A Put is one transaction, and one round trip; the version of a key is its revision
// of the last change, so that none comes twice. Reads are those of a majority. The
// store watches. Of etcd's own leases, which go by the server's clock, none is used.
//
// The client's user needs the permission readwrite on the prefix.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/runrig-go/runrig/verticle/lease"
)

// MaxValue is the most bytes that a value may have: what fits into a request of
// etcd's default limit (--max-request-bytes), 1.5 MiB, with its key.
const MaxValue = 1<<20 + 1<<19 - 8<<10

// Store is a [lease.Store], and a [lease.Watcher], in etcd.
type Store struct {
	client *clientv3.Client
	prefix string
}

// New returns a store whose keys begin with the prefix. The client stays the
// caller's, who closes it when the store is not used any more. Nothing is asked yet.
func New(client *clientv3.Client, prefix string) (*Store, error) {
	if client == nil {
		return nil, errors.New("lease/etcd: nil client")
	}
	return &Store{client, prefix}, nil
}

// Get returns the value of a key and its version, in one round trip.
func (s *Store) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	r, err := s.client.Get(ctx, s.prefix+key)
	if err != nil {
		return nil, 0, s.wrap("get", key, err)
	}
	change := first(r.Kvs)
	return change.Value, change.Version, nil
}

// first is the state of a key, of the answer to a read of it.
func first(kvs []*mvccpb.KeyValue) lease.Change {
	if len(kvs) == 0 {
		return lease.Change{}
	}
	return lease.Change{Value: kvs[0].Value, Version: uint64(kvs[0].ModRevision)}
}

// Put sets the value of a key whose version is old, in one round trip.
func (s *Store) Put(ctx context.Context, key string, value []byte, old uint64) (uint64, error) {
	if len(value) > MaxValue {
		return 0, s.wrap("put", key, fmt.Errorf("%w: the value has %d bytes; the limit is %d", lease.ErrMisconfigured, len(value), MaxValue))
	}
	return s.change(ctx, "put", key, old, clientv3.OpPut(s.prefix+key, string(value)))
}

// Delete makes a key absent whose version is old, in one round trip.
func (s *Store) Delete(ctx context.Context, key string, old uint64) error {
	_, err := s.change(ctx, "delete", key, old, clientv3.OpDelete(s.prefix+key))
	return err
}

// change does what op does if the key has that version, and returns the new one.
func (s *Store) change(ctx context.Context, verb, key string, old uint64, op clientv3.Op) (uint64, error) {
	expected := clientv3.Compare(clientv3.ModRevision(s.prefix+key), "=", int64(old))
	r, err := s.client.Txn(ctx).If(expected).Then(op).Else(clientv3.OpGet(s.prefix + key)).Commit()
	if err != nil {
		return 0, s.wrap(verb, key, err)
	}
	if r.Succeeded {
		return uint64(r.Header.Revision), nil
	}
	is := first(r.Responses[0].GetResponseRange().Kvs)
	return 0, s.wrap(verb, key, &lease.Conflict{Key: key, Value: is.Value, Version: is.Version})
}

// Watch returns a channel that tells what the key has become. It is closed when the
// client's member is parted from the majority, too.
func (s *Store) Watch(ctx context.Context, key string) (<-chan lease.Change, error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	watch := s.client.Watch(ctx, s.prefix+key, clientv3.WithCreatedNotify())
	if r, ok := <-watch; !ok || r.Err() != nil { // that it watches, or that it cannot
		cancel()
		return nil, s.wrap("watch", key, errors.Join(r.Err(), context.Cause(ctx)))
	}
	changes := make(chan lease.Change, 1)
	go func() { // until ctx ends, or the watch
		defer cancel()
		defer close(changes)
		for r := range watch {
			if r.Err() != nil {
				return
			}
			hand(changes, r.Events)
		}
	}()
	return changes, nil
}

// hand hands on what the last event tells. What nobody has taken is replaced.
func hand(changes chan lease.Change, events []*clientv3.Event) {
	if len(events) == 0 {
		return
	}
	var change lease.Change
	if last := events[len(events)-1]; last.Type == clientv3.EventTypePut {
		change = lease.Change{Value: last.Kv.Value, Version: uint64(last.Kv.ModRevision)}
	}
	select {
	case <-changes:
	default:
	}
	changes <- change // there is room: only this sends
}

// wrap says what failed where, and whether somebody has to mend the set-up.
func (s *Store) wrap(verb, key string, err error) error {
	setup := ""
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied), status.Code(err) == codes.PermissionDenied:
		setup = "the client's user needs the permission readwrite on the prefix"
	case status.Code(err) == codes.Unauthenticated, errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrAuthFailed):
		setup = "the client needs a user and a password that etcd knows"
	case errors.Is(err, rpctypes.ErrRequestTooLarge), status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max"):
		setup = "the value is over the limit of the server (--max-request-bytes) or the client (MaxCallSendMsgSize)"
	default:
		return fmt.Errorf("lease/etcd: %s %q at %v: %w", verb, s.prefix+key, s.client.Endpoints(), err)
	}
	return fmt.Errorf("lease/etcd: %s %q at %v: %w: %s: %w", verb, s.prefix+key, s.client.Endpoints(), lease.ErrMisconfigured, setup, err)
}
