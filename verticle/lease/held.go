package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Held is a lease that is held. Somebody must call its Release.
type Held struct {
	claim *claim // the keeper's while it runs, then release's
	fence uint64
	ctx   context.Context
	end   context.CancelCauseFunc
	sends map[uint64]time.Time // when writes were sent whose outcome is not known; the keeper's
	quit  chan struct{}        // closed when the lease is not to be renewed any more
	kept  chan struct{}        // closed when the keeper has ended

	mu    sync.Mutex
	until time.Time   // when ctx ends
	timer *time.Timer // ends it

	after     func() // called when it is released; nil: nothing
	releasing sync.Once
	released  error
}

// newHeld returns a lease that was won by a write sent at that time, and keeps it.
func newHeld(c *claim, sent time.Time) *Held {
	h := &Held{
		claim: c, fence: c.known.rec.Fence, sends: map[uint64]time.Time{},
		quit: make(chan struct{}), kept: make(chan struct{}),
	}
	h.ctx, h.end = context.WithCancelCause(context.Background())
	h.until = sent.Add(c.ttl - c.margin)
	h.timer = time.AfterFunc(c.clock.until(h.until), h.expire)
	go h.keep() // until quit, or until another has the lease; release waits
	return h
}

// Fence returns the number of this holder: it is higher than that of every holder
// before. What the holder writes elsewhere should carry it, and be refused there if
// a higher one has been seen. That is the only protection against a holder that
// was stopped, and goes on without knowing that its time is over.
func (h *Held) Fence() uint64 { return h.fence }

// Context returns a context that ends when the lease is lost or released, and a
// margin before it could be another's. Its cause matches [ErrLost] if it was lost.
func (h *Held) Context() context.Context { return h.ctx }

// extend puts off the end of the context, after a write that was sent then.
func (h *Held) extend(sent time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until := sent.Add(h.claim.ttl - h.claim.margin); until.After(h.until) && h.ctx.Err() == nil {
		h.until = until
		h.timer.Reset(h.claim.clock.until(until))
	}
}

// expire ends the context if its time has come.
func (h *Held) expire() {
	h.mu.Lock()
	left := h.claim.clock.until(h.until)
	if left > 0 { // it was put off meanwhile
		h.timer.Reset(left)
	}
	h.mu.Unlock()
	if left <= 0 {
		h.lose(errors.New("it could not be renewed in time"))
	}
}

// lose ends the context for a reason.
func (h *Held) lose(why error) {
	h.end(fmt.Errorf("%w: lease %q with fence %d: %w", ErrLost, h.claim.name, h.fence, why))
}

// keep renews the lease until it is told to stop, or another has it. It goes on
// when the context has ended and the holder's function has not: as long as nobody
// else has taken the lease, that keeps others away.
func (h *Held) keep() {
	defer close(h.kept)
	pause := h.claim.ttl / 3
	t := time.NewTimer(h.claim.clock.timer(pause))
	defer t.Stop()
	for {
		select {
		case <-h.quit:
			return
		case <-t.C:
		}
		pause = h.claim.ttl / 3
		switch err := h.renew(); {
		case final(err):
			h.claim.known = sighting{} // should it be acquired again: from the beginning
			h.lose(err)
			return
		case errors.Is(err, ErrLost):
			h.lose(err)
			return
		case err != nil:
			h.claim.complain(err)
			pause = max(h.claim.ttl/20, minTTL/20)
		}
		t.Reset(h.claim.clock.timer(pause))
	}
}

var errTaken = fmt.Errorf("%w: another has it", ErrLost)

// renew writes the record again. What a write that failed has done is read back.
func (h *Held) renew() error {
	return h.write(func(rec *record) { rec.Label = h.claim.label })
}

// write changes the record, which must be this holder's.
func (h *Held) write(change func(*record)) error {
	c := h.claim
	ctx, cancel := context.WithTimeout(context.Background(), c.clock.timer(c.patience()))
	defer cancel()
	rec := c.known.rec
	rec.Write = h.nextWrite()
	change(&rec)
	sent := c.clock.now()
	version, err := c.store.Put(ctx, c.key(), rec.encode(), c.known.version)
	if err == nil {
		if err := c.seeOwn(rec, version); err != nil {
			return err
		}
		clear(h.sends)
		h.extend(sent)
		c.recovered()
		return nil
	}
	h.sends[rec.Write] = sent
	if errors.Is(err, ErrMisconfigured) {
		return err
	}
	return h.readBack(err)
}

// nextWrite returns a number that no write of this holder has had.
func (h *Held) nextWrite() uint64 {
	n := h.claim.known.rec.Write
	for w := range h.sends {
		n = max(n, w)
	}
	return n + 1
}

// readBack finds out what became of a write that failed with err. It returns err
// if that has done nothing, yet.
func (h *Held) readBack(err error) error {
	c := h.claim
	holder, version := c.known.rec.Holder, c.known.version
	if lerr := c.look(context.Background()); lerr != nil {
		return errors.Join(err, lerr)
	}
	switch {
	case c.known.rec.Holder == "" && c.known.rec.Fence == h.fence && c.known.version != version: // this one has released it
		return nil
	case c.known.rec.Holder != holder:
		return errTaken
	case c.known.version == version:
		return err
	}
	sent, ok := h.sends[c.known.rec.Write]
	if ok {
		h.extend(sent)
	}
	return nil
}

// Release gives the lease back, so that another can have it at once: what the
// lease protects must have ended. It ends the context, and waits for the store, for
// twice the ttl at most; there is no context, as what is not released is not to be had
// before its ttl is over. The error says that this is so. Releasing again does nothing
// and returns the same.
func (h *Held) Release() error { return h.release() }

func (h *Held) release() error {
	h.releasing.Do(func() {
		h.end(nil)
		close(h.quit)
		<-h.kept
		h.mu.Lock()
		h.timer.Stop()
		h.mu.Unlock()
		h.released = h.giveBack()
		if h.after != nil {
			h.after()
		}
	})
	return h.released
}

// giveBack writes that nobody holds the lease.
func (h *Held) giveBack() (err error) {
	c := h.claim
	for try := 0; c.known.rec.Fence == h.fence && c.known.rec.Holder != ""; try++ { // else it is another's, or released
		if try == 3 && err == nil {
			err = errors.New("other writes of this holder came in between")
		}
		if try == 3 || final(err) {
			return fmt.Errorf("lease %q is not released, and ends in %v: %w", c.name, c.ttl, err)
		}
		if try > 0 {
			<-time.After(c.clock.timer(c.ttl / 100))
		}
		if err = h.write(func(rec *record) { *rec = record{Fence: rec.Fence} }); errors.Is(err, ErrLost) {
			return nil
		}
	}
	return nil
}
