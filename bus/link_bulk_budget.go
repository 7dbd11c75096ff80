package bus

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// budget is the memory for large bodies that are coming in.
//
// A body that will be there soon gets all of its memory at once, first come first
// served: it needs nothing else to be complete. Any other gets as much as has come
// of it already, again and again, so that a slow peer holds what it has sent, and
// not what it is going to send. These are the bodies in steps. They may not use two parts of
// the memory: one, enough for a body of any size, is for bodies that come soon (forSoon);
// the other is for first steps (forFirsts), as the beginning of a body has to come to show
// whether the body comes soon. The rest (forSteps) is for later steps. A link gets a later
// step only if it holds no more memory than is left of forSteps for others, once what the
// oldest body in steps still needs is set aside. The oldest body itself always gets its
// steps.
//
// Nothing locks up: a step is granted only if the memory then still suffices for
// all bodies in steps one after the other, in order of age, each of which gives its
// own back when it is whole.
type budget struct {
	mu      sync.Mutex
	total   int64
	free    int64
	firsts  int64              // bytes held by bodies in steps that have had one step
	stepped int64              // bytes held by bodies in steps that have had several
	steps   []*reservation     // the bodies in steps, in order of age
	queue   []*reservation     // the bodies that want more memory, first come first served
	holds   map[bulkPeer]int64 // bytes held, by the node that they come from
}

const (
	smallBulk  = 256 << 10       // a body up to that gets its memory at once
	firstStep  = 64 << 10        // of a larger one that may be slow in coming
	soonWithin = 2 * time.Second // in which a body comes that comes soon
)

// bulkPeer is a node from which large bodies come. The budget tells it how many bytes of
// a body may come so far, without a lock.
type bulkPeer interface {
	grantBulk(id uint64, held, size int64)
}

// reservation is memory for a body in the node's budget.
type reservation struct {
	peer    bulkPeer
	id      uint64
	size    int64
	held    atomic.Int64 // bytes that are granted; changed under budget.mu
	wants   int64        // bytes that it is to hold; guarded by budget.mu
	stepped int64        // its share of budget.stepped; guarded by budget.mu
	soon    bool         // the rest of the body comes soon; guarded by budget.mu
}

// grant is what the sender of a body is to be told: how many bytes of it may come so far.
type grant struct {
	*reservation
	held int64
}

func (b *budget) init(total int64) {
	b.total, b.free, b.holds = total, total, map[bulkPeer]int64{}
}

// The parts of the memory, for each use. A quarter has room for a body of the limit at least.
func (b *budget) forSoon() int64   { return b.total / 4 }
func (b *budget) forFirsts() int64 { return b.total / 8 }
func (b *budget) forSteps() int64  { return b.total - b.forSoon() - b.forFirsts() }

// ask asks for memory for a body: for all of the body if it comes soon, else for a first
// step. The sender is told when there is memory, now or later.
func (b *budget) ask(r *reservation, soon bool) {
	b.mu.Lock()
	r.wants, r.soon = r.size, soon || r.size <= smallBulk
	if !r.soon {
		r.wants = firstStep
		b.steps = append(b.steps, r)
	}
	b.queue = append(b.queue, r)
	granted := b.grantLocked()
	b.mu.Unlock()
	tell(granted)
}

// more asks for more memory for a body in steps, all of it if the rest comes soon.
func (b *budget) more(r *reservation, soon bool) {
	b.mu.Lock()
	if r.wants > r.held.Load() { // more has been asked for already
		b.mu.Unlock()
		return
	}
	if r.wants, r.soon = min(r.size, 2*r.wants), soon; soon {
		r.wants = r.size
	}
	b.queue = append(b.queue, r)
	granted := b.grantLocked()
	b.mu.Unlock()
	tell(granted)
}

// release gives a reservation back, and takes back what was asked for. Doing so
// again does nothing.
func (b *budget) release(r *reservation) {
	b.mu.Lock()
	b.queue = slices.DeleteFunc(b.queue, func(o *reservation) bool { return o == r })
	b.leaveStepsLocked(r)
	held := r.held.Swap(0)
	b.free += held
	if b.holds[r.peer] -= held; b.holds[r.peer] == 0 {
		delete(b.holds, r.peer)
	}
	granted := b.grantLocked()
	b.mu.Unlock()
	tell(granted)
}

func (b *budget) leaveStepsLocked(r *reservation) {
	if i := slices.Index(b.steps, r); i >= 0 {
		b.steps = slices.Delete(b.steps, i, i+1)
		b.restepLocked(r, 0)
	}
}

// restepLocked notes that r holds so much of the memory for steps now, in place of
// what it held, or of its first step.
func (b *budget) restepLocked(r *reservation, bytes int64) {
	if r.stepped == 0 {
		b.firsts -= r.held.Load()
	}
	b.stepped += bytes - r.stepped
	r.stepped = bytes
}

// grantLocked grants the reservations in the queue for which there is memory. A body that
// waits for all of its memory holds up the bodies behind it that wait for all of theirs.
func (b *budget) grantLocked() (granted []grant) {
	short := false
	left := b.queue[:0]
	for _, r := range b.queue {
		need := r.wants - r.held.Load()
		switch {
		case r.soon && !short && b.takesWholeLocked(r):
			b.leaveStepsLocked(r)
		case !r.soon && r.held.Load() == 0 && b.takesFirstLocked(r):
			b.firsts += need
		case !r.soon && r.held.Load() > 0 && b.takesStepLocked(r):
			b.restepLocked(r, r.wants)
		default:
			short = short || r.soon && b.free < need
			left = append(left, r)
			continue
		}
		b.free -= need
		b.holds[r.peer] += need
		r.held.Store(r.wants)
		granted = append(granted, grant{r, r.wants})
	}
	clear(b.queue[len(left):])
	b.queue = left
	return granted
}

// takesWholeLocked reports whether r may have all that it wants. If its link has another
// body whole, r may only if the memory that is left to others is then no less than what the
// link holds for whole bodies.
func (b *budget) takesWholeLocked(r *reservation) bool {
	left := b.free - (r.wants - r.held.Load())
	others := b.holds[r.peer]
	for _, o := range b.steps {
		if o.peer == r.peer {
			others -= o.held.Load()
		}
	}
	return left >= 0 && (others == 0 || others+r.wants <= left)
}

// takesFirstLocked reports whether r may have its first step: only if its link holds no
// memory.
func (b *budget) takesFirstLocked(r *reservation) bool {
	return b.holds[r.peer] == 0 && b.firsts+r.wants <= b.forFirsts() && b.free >= r.wants
}

// takesStepLocked reports whether r may have its next step.
func (b *budget) takesStepLocked(r *reservation) bool {
	left := b.forSteps() - b.stepped - (r.wants - r.stepped)
	oldest := b.steps[0]
	switch {
	case left < 0 || b.free < r.wants-r.held.Load():
		return false
	case r != oldest && b.holds[r.peer] > left-(oldest.size-oldest.stepped):
		return false
	}
	for _, o := range b.steps { // one after the other
		holds := o.stepped
		if o == r {
			holds = r.wants
		}
		if left < o.size-holds {
			return false
		}
		left += holds
	}
	return true
}

// tell tells the senders how much of their bodies there is memory for.
func tell(granted []grant) {
	for _, g := range granted {
		g.peer.grantBulk(g.id, g.held, g.size)
	}
}
