package ecs

import "time"

// How long a look at a task is good for. What a description says about a task
// that runs holds for the task's life. Nothing is settled about one that only
// starts; and what was concluded from something that is missing, or that
// somebody can change, is looked at again: at once while it may only be late,
// then after a time that doubles, at last each few minutes.
const (
	atOnce     = 3 // looks
	againFirst = 30 * time.Second
	againMost  = 5 * time.Minute
	// confirmed is how many looks make sure of an address that was concluded
	// from missing mappings: those at once, and some seven minutes.
	confirmed = atOnce + 4
)

// keep settles how long p, made of s, is good for, knowing what was known
// before.
func (p *peer) keep(s sighting, before peer, now time.Time) {
	p.looks = 1
	if before.says() == p.says() {
		p.looks = before.looks + 1
	}
	switch {
	case s.rank > 0 || s.reason == reasonLeaving: // each time
	case s.chosen:
		p.due = now.Add(againMost)
	case p.addr.IsValid() && (s.sure || p.looks >= confirmed):
		p.settled = true
	case p.looks >= atOnce:
		p.due = now.Add(min(againFirst<<min(p.looks-atOnce, 10), againMost))
	}
}

// says is the outcome of a look, to compare it with the one before.
func (p peer) says() string {
	if p.refused != nil {
		return p.refused.Error()
	}
	return p.reason + p.addr.String()
}

// fresh says whether what is known is still good.
func (p peer) fresh(now time.Time) bool { return p.settled || now.Before(p.due) }
