package ecs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// direct is an HTTP client that calls the fake as a function, so that everything can happen in
// virtual time. It must not be used for requests that hang.
type direct struct{ fake *ecstest.Fake }

func (d direct) Do(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	d.fake.ServeHTTP(answer, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return answer.Result(), nil
}

// virtualClock is a clock for a fake that is real until it follows the time of a bubble. The fake's
// own goroutines are outside of the bubble, where it stands still at what was last seen within.
type virtualClock struct {
	from, last atomic.Pointer[time.Time]
}

var realStart = time.Now()

func (c *virtualClock) Now() time.Time {
	from := c.from.Load()
	if from == nil {
		return realStart
	}
	if now := time.Now(); now.Year() < realStart.Year() { // a bubble begins in the year 2000
		now = realStart.Add(time.Hour + now.Sub(*from))
		c.last.Store(&now)
	}
	return *c.last.Load()
}

// follow makes the clock go with the bubble of the caller, an hour after what was before.
func (c *virtualClock) follow() {
	now := time.Now()
	c.from.Store(&now)
	_ = c.Now()
}

// netip4 is the i-th address of a large subnet.
func netip4(i int) string { return fmt.Sprintf("10.2.%d.%d", i/200, i%200+1) }

func noSleep(context.Context, time.Duration) error { return nil }

// third is a client whose third description fails once.
type third struct {
	direct
	calls int
}

func (c *third) Do(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DescribeTasks") {
		if c.calls++; c.calls == 3 {
			return nil, errors.New("connection reset")
		}
	}
	return c.direct.Do(r)
}
