package ecs_test

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// silent is an HTTP client to which nothing is ever answered.
type silent struct{}

func (silent) Do(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// endless is an answer that never ends.
type endless struct{ read *atomic.Int64 }

func (e endless) Read(p []byte) (int, error) {
	e.read.Add(int64(len(p)))
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func (e endless) Do(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(e)}, nil
}

func TestHugeAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	var read atomic.Int64
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = endless{&read} })
	peers, err := p.Peers(t.Context())
	if !errors.Is(err, ecs.ErrTemporary) || peers != nil {
		t.Errorf("Peers gave %q, %v; want ErrTemporary", peers, err)
	}
	wantText(t, err, "larger than 33554432 bytes")
	if n := read.Load(); n > 200<<20 { // the SDK may try three times
		t.Errorf("%d bytes were read", n)
	}
}

func TestPeersLimitsItself(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = silent{} })
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := p.Peers(t.Context())
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("Peers gave up after %v, want 10s", took)
		}
		if !errors.Is(err, ecs.ErrTemporary) {
			t.Errorf("error is %v, want ErrTemporary", err)
		}
		wantText(t, err, "no complete answer within 10s")
	})
}
