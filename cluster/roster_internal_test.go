package cluster

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// What becomes of a member is judged by gossip and by the link, whichever speaks
// first.
func TestRosterJudges(t *testing.T) {
	t.Parallel()
	broke := errors.New("reset")
	hears := func(s Status) func(*roster) {
		return func(r *roster) { r.hear(Member{Peer: bus.Peer{Boot: 2}, Status: s}) }
	}
	link := func(r *roster) { r.link(bus.Peer{Boot: 2, Since: time.Now()}) }
	breaks := func(r *roster) { r.unlink(2, broke) }
	goodbye := func(r *roster) { r.unlink(2, nil) }
	outlive := func(r *roster) { r.outlive(2) }
	forget := func(r *roster) { r.forget(2) }
	later := func(*roster) { time.Sleep(lostAfter) }
	others := func(r *roster) { r.link(bus.Peer{Boot: 3, Since: time.Now()}) }
	const unlisted = StatusFailed + 1
	for what, c := range map[string]struct {
		steps []func(*roster)
		want  Status
	}{
		"told of":                                {[]func(*roster){hears(StatusAlive)}, StatusAlive},
		"linked before it was told of":           {[]func(*roster){link}, StatusAlive},
		"linked, never told of, broke":           {[]func(*roster){link, breaks}, unlisted},
		"linked, not heard":                      {[]func(*roster){hears(StatusAlive), link, hears(StatusFailed)}, StatusAlive},
		"not heard, then not linked":             {[]func(*roster){hears(StatusAlive), link, hears(StatusFailed), breaks}, StatusFailed},
		"broke a moment ago":                     {[]func(*roster){hears(StatusAlive), link, breaks}, StatusAlive},
		"broke, and nobody else is linked":       {[]func(*roster){hears(StatusAlive), link, breaks, later}, StatusFailed},
		"broke, and others say that it is there": {[]func(*roster){hears(StatusAlive), link, others, breaks, later}, StatusAlive},
		"broke, lost, and found by gossip":       {[]func(*roster){hears(StatusAlive), link, breaks, later, hears(StatusFailed), hears(StatusAlive)}, StatusAlive},
		"said goodbye":                           {[]func(*roster){hears(StatusAlive), link, goodbye}, StatusLeaving},
		"said goodbye, and is not heard":         {[]func(*roster){hears(StatusAlive), link, goodbye, hears(StatusFailed)}, StatusLeft},
		"not heard, and said goodbye":            {[]func(*roster){hears(StatusAlive), link, hears(StatusFailed), goodbye}, StatusLeft},
		"left while it was linked":               {[]func(*roster){hears(StatusAlive), link, hears(StatusLeft)}, StatusLeft},
		"replaced":                               {[]func(*roster){hears(StatusAlive), outlive}, StatusFailed},
		"replaced, and linked again":             {[]func(*roster){hears(StatusAlive), outlive, link}, StatusAlive},
		"replaced, lost and found by gossip":     {[]func(*roster){hears(StatusAlive), outlive, hears(StatusFailed), hears(StatusAlive)}, StatusAlive},
		"forgotten":                              {[]func(*roster){hears(StatusFailed), forget}, unlisted},
		"forgotten, but linked":                  {[]func(*roster){hears(StatusAlive), link, hears(StatusFailed), forget}, StatusAlive},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRoster()
				for _, step := range c.steps {
					r.update(func() { step(r) })
				}
				r.update(nil)
				got := Status(unlisted)
				if m, ok := r.get(2); ok {
					got = m.Status
				}
				if got != c.want {
					t.Errorf("%v, want %v", got, c.want)
				}
			})
		})
	}
}
