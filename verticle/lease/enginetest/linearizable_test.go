package enginetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/runrig-go/runrig/verticle/lease"
)

const (
	clients = 16
	calls   = 30 // of each client
)

// A call is a Get, Put or Delete.
type call struct {
	verb  string
	old   uint64
	value string
}

// A result is what it returned.
type result struct {
	ok, told bool // told: a conflict that tells what is there
	is       state
}

// state is what is under a key.
type state struct {
	version uint64
	value   string
}

// model is a key of a store, of which one call is done after the other.
var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, in, out any) (bool, any) {
		is, c, r := s.(state), in.(call), out.(result)
		switch {
		case c.verb == "get":
			return r.is == is, is
		case !r.ok:
			return c.old != is.version && (!r.told || r.is == is), is
		case c.verb == "put":
			return c.old == is.version && r.is.version > is.version, state{r.is.version, c.value}
		}
		return c.old == is.version, state{}
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v: %+v", in, out) },
}

// checkLinearizable has clients, each with a store of its own, get, put and delete one
// key, and has porcupine find an order of all calls in which the results are right.
func checkLinearizable(t *testing.T, open func(t testing.TB) lease.Store) {
	history := record(t, open)
	if r := porcupine.CheckOperationsTimeout(model, history, time.Minute); r != porcupine.Ok {
		t.Errorf("%d calls of %d clients: %v; want them to be linearizable", len(history), clients, r)
	}
}

// record has the clients call, and returns what they saw.
func record(t *testing.T, open func(t testing.TB) lease.Store) []porcupine.Operation {
	key, began := "linearizable/"+rand.Text(), time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var wg sync.WaitGroup
	for id := range clients {
		s := open(t)
		wg.Go(func() {
			var known state
			for n := range calls {
				c := choose(known, fmt.Sprintf("%d/%d", id, n))
				o := porcupine.Operation{ClientId: id, Input: c, Call: int64(time.Since(began))}
				r, err := c.do(t.Context(), s, key)
				if err != nil {
					t.Errorf("%+v: %v", c, err)
					return
				}
				o.Output, o.Return = r, int64(time.Since(began))
				known = r.is
				mu.Lock()
				history = append(history, o)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return history
}

// choose makes a call of one who has seen that last.
func choose(known state, value string) call {
	switch n := mathrand.IntN(10); {
	case n < 3:
		return call{verb: "get"}
	case n < 4 && known.version > 0:
		return call{verb: "delete", old: known.version}
	}
	return call{"put", known.version, value}
}

func (c call) do(ctx context.Context, s lease.Store, key string) (r result, err error) {
	switch c.verb {
	case "get":
		var value []byte
		value, r.is.version, err = s.Get(ctx, key)
		r.ok, r.is.value = true, string(value)
	case "put":
		r.is.version, err = s.Put(ctx, key, []byte(c.value), c.old)
		r.ok, r.is.value = err == nil, c.value
	case "delete":
		err = s.Delete(ctx, key, c.old)
		r.ok = err == nil
	}
	if told := (*lease.Conflict)(nil); errors.As(err, &told) {
		return result{told: true, is: state{told.Version, string(told.Value)}}, nil
	}
	if errors.Is(err, lease.ErrConflict) {
		return result{}, nil
	}
	return r, err
}

// TestCheckerFindsFaults: a store that looks and writes in two steps is found out.
func TestCheckerFindsFaults(t *testing.T) {
	t.Parallel()
	for range 50 {
		s := &twoSteps{}
		if !porcupine.CheckOperations(model, record(t, func(testing.TB) lease.Store { return s })) {
			return
		}
	}
	t.Error("fifty histories of a store that is not atomic are said to be linearizable")
}

type twoSteps struct{ lease.Memory }

func (s *twoSteps) Put(ctx context.Context, key string, value []byte, old uint64) (uint64, error) {
	_, is, err := s.Get(ctx, key)
	if err != nil || is != old {
		return 0, errors.Join(lease.ErrConflict, err)
	}
	runtime.Gosched()
	return s.Memory.Put(ctx, key, value, must(s.Get(ctx, key)))
}

func must(_ []byte, version uint64, _ error) uint64 { return version }
