package verticle_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// part is a verticle of two functions; either may be nil.
type part struct {
	start func(ctx context.Context, d *verticle.Deployment) error
	stop  func(ctx context.Context) error
}

func (p *part) Start(ctx context.Context, d *verticle.Deployment) error {
	if p.start == nil {
		return nil
	}
	return p.start(ctx, d)
}

func (p *part) Stop(ctx context.Context) error {
	if p.stop == nil {
		return nil
	}
	return p.stop(ctx)
}

// journal is what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) want(t *testing.T, lines ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.lines, lines) {
		t.Errorf("happened:\n%q\nwant:\n%q", j.lines, lines)
	}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// bubble runs a test in virtual time, which fails if a goroutine is left. The
// bus is closed at its end.
func bubble(t *testing.T, f func(t *testing.T, eb *bus.EventBus)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(bus.WithLogger(quiet))
		defer eb.Close()
		f(t, eb)
	})
}

// deploy deploys a verticle that must start. It does not log.
func deploy(t *testing.T, eb *bus.EventBus, v verticle.Verticle, opts ...verticle.Option) *verticle.Deployment {
	t.Helper()
	d, err := verticle.Deploy(t.Context(), eb, v, append([]verticle.Option{verticle.WithLogger(quiet)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// undeploy undeploys without a deadline of its own.
func undeploy(t *testing.T, d *verticle.Deployment) {
	t.Helper()
	if err := d.Undeploy(context.Background()); err != nil {
		t.Error(err)
	}
}

// echo answers what it is asked.
var echo = bus.Respond(func(_ context.Context, s string) (string, error) { return s, nil })

// wantConsumer asks an echo at the address.
func wantConsumer(t *testing.T, eb *bus.EventBus, address string) {
	t.Helper()
	if s, err := bus.Request[string](t.Context(), eb, address, "there?"); err != nil || s != "there?" {
		t.Errorf("request to %q: %q, %v; want an echo", address, s, err)
	}
}

func wantNoConsumer(t *testing.T, eb *bus.EventBus, address string) {
	t.Helper()
	if err := eb.Send(t.Context(), address, "there?"); !errors.Is(err, bus.ErrNoConsumer) {
		t.Errorf("send to %q: %v; want ErrNoConsumer", address, err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v; want %v", err, want)
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
