package lease_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/verticle/lease"
)

// hooked is a store that calls hook in each call.
type hooked struct {
	lease.Memory
	hook func()
}

func (h *hooked) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	h.hook()
	return h.Memory.Get(ctx, key)
}

func (h *hooked) Put(ctx context.Context, key string, value []byte, old uint64) (uint64, error) {
	h.hook()
	return h.Memory.Put(ctx, key, value, old)
}

func (h *hooked) Watch(ctx context.Context, key string) (<-chan lease.Change, error) {
	h.hook()
	return h.Memory.Watch(ctx, key)
}

// TestGuests: a store that panics has failed: a lease is kept when it works again in
// time, and lost when it does not, and the log has the stack.
func TestGuests(t *testing.T) {
	t.Parallel()
	for how, fail := range map[string]func(){"panics": func() { panic("no") }, "ends its goroutine": runtime.Goexit} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var broken atomic.Bool
				s := &hooked{hook: func() {
					if broken.Load() {
						fail()
					}
				}}
				var log bytes.Buffer
				l, err := lease.NewLock(s, "it", lease.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
				if err != nil {
					t.Fatal(err)
				}
				h, err := l.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				broken.Store(true)
				time.Sleep(5 * time.Second)
				broken.Store(false)
				time.Sleep(time.Minute)
				if err := h.Context().Err(); err != nil {
					t.Errorf("lost after five seconds: %v", context.Cause(h.Context()))
				}
				broken.Store(true)
				<-h.Context().Done()
				if !strings.Contains(log.String(), "Put of the Store") || !strings.Contains(log.String(), "stack=") {
					t.Errorf("logged %q", &log)
				}
				broken.Store(false)
				_ = h.Release()
			})
		})
	}
}
