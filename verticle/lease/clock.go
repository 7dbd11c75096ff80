package lease

import (
	"math"
	"time"
)

// A clock is this process's monotonic one. In tests it may run at another speed
// than those of others.
type clock struct {
	speed float64   // 0 as 1
	began time.Time // when it showed the right time
}

func (c *clock) now() time.Time {
	now := time.Now()
	if c.speed == 0 {
		return now
	}
	return c.began.Add(time.Duration(float64(now.Sub(c.began)) * c.speed))
}

func (c *clock) since(t time.Time) time.Duration { return c.now().Sub(t) }

// timer is how long a timer must run until so much has passed on the clock.
func (c *clock) timer(d time.Duration) time.Duration {
	if c.speed == 0 {
		return d
	}
	return time.Duration(math.Ceil(float64(d) / c.speed))
}

// until is how long a timer must run until the clock shows t.
func (c *clock) until(t time.Time) time.Duration { return c.timer(t.Sub(c.now())) }
