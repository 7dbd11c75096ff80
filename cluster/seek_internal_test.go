package cluster

import (
	"testing"
	"time"
)

// All nodes of a cluster together ask discovery once a second at most, but each at
// least every 36 s where there are few, at times that spread.
func TestSlowly(t *testing.T) {
	t.Parallel()
	for members, want := range map[int]time.Duration{
		1: 30 * time.Second, 30: 30 * time.Second, 31: 31 * time.Second, 100: 100 * time.Second, 300: 5 * time.Minute,
	} {
		least, most := slowly(members), slowly(members)
		for range 1000 {
			d := slowly(members)
			least, most = min(least, d), max(most, d)
		}
		if least < want*8/10 || least > want*85/100 || most > want*12/10 || most < want*115/100 {
			t.Errorf("%d members: each asks after %v to %v, want %v and a fifth less or more", members, least, most, want)
		}
	}
}
