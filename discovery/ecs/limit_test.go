package ecs_test

import (
	"errors"
	"net/http"
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
