package ecs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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

// virtualClock is a clock for a fake that is real until it follows the time of a bubble.
type virtualClock struct{ from atomic.Pointer[time.Time] }

var realStart = time.Now()

func (c *virtualClock) Now() time.Time {
	if from := c.from.Load(); from != nil {
		return realStart.Add(time.Hour + time.Since(*from))
	}
	return realStart
}

// follow makes the clock go with the bubble of the caller, an hour after what was before.
func (c *virtualClock) follow() {
	now := time.Now()
	c.from.Store(&now)
}

// netip4 is the i-th address of a large subnet.
func netip4(i int) string { return fmt.Sprintf("10.2.%d.%d", i/200, i%200+1) }
