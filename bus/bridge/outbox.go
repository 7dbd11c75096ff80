package bridge

import (
	"context"
	"sync"
)

// outbox is what waits for a client of the publishes that it hears with others. A
// goroutine writes it while there is something.
type outbox struct {
	mu      sync.Mutex
	parcels []parcel
	size    int           // of all that is not written yet
	writes  bool          // the goroutine runs
	stalled bool          // a publish has waited for room in vain, and not all is written since
	room    chan struct{} // closed when there is some; nil: nobody waits
}

// parcel is a publication for a client.
type parcel struct {
	to *registration
	*publication
}

// put puts a publication into the client's outbox. It reports false if there is no room
// and may be soon; where last is set it skips the client then. The caller holds the lock of
// the channel, of which the registration is a member.
func (r *registration) put(p *publication, last bool) bool {
	s := r.session
	o, limit := &s.outbox, s.bridge.limits.Outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if full := o.size >= limit; full || o.stalled {
		if !o.stalled && !last {
			return false
		}
		o.stalled = true
		s.bridge.stats.skipped.Add(1)
		return true
	}
	o.parcels = append(o.parcels, parcel{r, p})
	o.size += p.cost()
	if !o.writes {
		o.writes = true
		s.running.Go(s.empty) // until the outbox is, or the session ends
	}
	return true
}

// await waits until the outbox has room, or ctx ends.
func (o *outbox) await(ctx context.Context) {
	o.mu.Lock()
	if o.room == nil {
		o.room = make(chan struct{})
	}
	room := o.room
	o.mu.Unlock()
	select {
	case <-room:
	case <-ctx.Done():
	}
}

// take returns what is to be written next; none: the goroutine that writes is to end.
func (o *outbox) take() []parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := o.parcels
	o.parcels = nil
	if len(next) == 0 {
		o.writes, o.stalled = false, false
		o.hasRoom()
	}
	return next
}

// written notes that a parcel is no longer in the outbox.
func (o *outbox) written(p parcel, limit int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size -= p.cost(); o.size < limit {
		o.hasRoom()
	}
}

// hasRoom tells those that wait for room. The caller holds o.mu.
func (o *outbox) hasRoom() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// empty writes what is in the outbox, until nothing is.
func (s *session) empty() {
	done := false
	defer func() {
		if !done { // a hook has ended the goroutine
			s.cut(errGone, nil)
		}
	}()
	for next := s.outbox.take(); len(next) > 0; next = s.outbox.take() {
		for _, p := range next {
			s.give(p)
			s.outbox.written(p, s.bridge.limits.Outbox)
		}
	}
	done = true
}

// give writes a publication to the client, unless the rules or the hook keep it back.
func (s *session) give(p parcel) {
	stats := &s.bridge.stats
	if s.ctx.Err() != nil || p.to.gone.Load() {
		stats.undelivered.Add(1)
		return
	}
	body, err := p.json()
	if err != nil {
		stats.undelivered.Add(1)
		return
	}
	e := Event{Kind: Receive, Address: p.to.address, Header: s.bridge.forHook(p.m.Header()), Body: orNull(body)}
	if p.to.withholds(p.deadline, &e) != nil {
		stats.withheld.Add(1)
		return
	}
	if s.bridge.config.Authorize == nil || p.has(&e) {
		err = s.transmit(p.frameFor(s), true)
	} else {
		err = s.write(s.dialect.appendMessage(nil, &message{address: e.Address, header: e.Header, body: e.Body}))
	}
	if err != nil {
		stats.undelivered.Add(1)
	}
}
