package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/runrig-go/runrig/verticle/internal/guard"
)

// A claim is what one who wants a lease knows of it. It belongs to one goroutine.
type claim struct {
	config
	store Store
	name  string
	wrote func(Change)                                                  // told of what it has written; nil: nobody
	hear  func(ctx context.Context, seen uint64) (news Change, ok bool) // waits for news of the record since that version; see vigil

	known sighting             // what was seen last
	fence uint64               // the highest that was seen
	own   string               // the holder of its last lease
	bids  map[string]time.Time // when those were sent whose outcome is not known, by holder
	mute  bool                 // it has been logged that the store does not answer
}

// A sighting is a state of the record, and since when it has been seen unchanged.
type sighting struct {
	rec     record
	version uint64
	since   time.Time // on this process's clock, when the first answer with it had come
}

func newClaim(store Store, name string, opts []Option) (*claim, error) {
	if err := checkStore(store); err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	return &claim{config: c, store: guardStore(store), name: name, bids: map[string]time.Time{}}, nil
}

func (c *claim) key() string { return leasePrefix + c.name }

// patience is how long one call of the store may take.
func (c *claim) patience() time.Duration { return c.ttl / 4 }

// acquire waits until the lease is this one's, or ctx ends. It does not leave a bid
// without knowing what became of it, nor a lease that it has won then.
func (c *claim) acquire(ctx context.Context) (*Held, error) {
	wait := c.newVigil(ctx)
	defer wait.stop()
	var last error
	read := c.known.version == 0 || c.known.rec.Holder != "" // else it was free when it was seen last: that is worth a bid
	for ctx.Err() == nil {
		h, err := c.tryOnce(ctx, read)
		switch {
		case h != nil && ctx.Err() != nil:
			_ = h.release() // nobody wants it any more; else it ends by itself
		case h != nil:
			return h, nil
		case final(err):
			c.known = sighting{} // should it be tried again: from the beginning
			return nil, err
		}
		if last = err; err != nil {
			c.complain(err)
		} else {
			c.recovered()
		}
		read = wait.wait(ctx, c.pause(err))
	}
	err := fmt.Errorf("lease %q: %w", c.name, context.Cause(ctx))
	if last != nil {
		err = fmt.Errorf("%w; at last: %w", err, last)
	}
	return nil, err
}

// final reports whether trying again is of no use.
func final(err error) bool {
	return errors.Is(err, ErrMisconfigured) || errors.Is(err, ErrStaleStore)
}

// tryOnce looks at the record, which it reads first if it is told to, and bids for
// the lease if it is to be had. It returns neither a lease nor an error if it is
// not.
func (c *claim) tryOnce(ctx context.Context, read bool) (*Held, error) {
	if read {
		if err := c.look(ctx); err != nil {
			return nil, err
		}
	}
	for {
		if h := c.adopt(); h != nil {
			return h, nil
		}
		if !c.free() {
			return nil, nil
		}
		version := c.known.version
		h, err := c.bid(ctx)
		if h != nil || err != nil {
			return h, err
		}
		if c.known.version == version { // no news: another look tells
			return nil, nil
		}
	}
}

// free reports whether the lease is nobody's, or its holder has not renewed it
// for the time that the record says, by this process's clock. What this claim
// holds there itself it could not release, or a bid has won it too late.
func (c *claim) free() bool {
	holder := c.known.rec.Holder
	_, bid := c.bids[holder]
	return holder == "" || bid || holder == c.own || c.clock.since(c.known.since) >= c.known.rec.ttl()
}

// pause is how long to wait before the next look.
func (c *claim) pause(err error) time.Duration {
	if err != nil {
		return max(c.ttl/20, minTTL/20)
	}
	if c.known.rec.Holder == "" { // somebody else was faster: it will show soon
		return c.ttl / 100
	}
	poll := c.poll
	if poll == 0 {
		poll = c.ttl / 10
	}
	return max(0, min(poll, c.known.rec.ttl()-c.clock.since(c.known.since)))
}

// complain logs once that the store does not answer.
func (c *claim) complain(err error) {
	if !c.mute {
		c.log.Warn("the store of a lease does not answer", append(guard.Stack(err), "lease", c.name, "err", err)...)
	}
	c.mute = true
}

// recovered logs, if it has been logged that the store does not answer, that it does.
func (c *claim) recovered() {
	if c.mute {
		c.log.Info("the store of a lease answers again", "lease", c.name)
	}
	c.mute = false
}

// look reads the record.
func (c *claim) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.clock.timer(c.patience()))
	defer cancel()
	value, version, err := c.store.Get(ctx, c.key())
	if err != nil {
		return fmt.Errorf("lease %q: %w", c.name, err)
	}
	return c.see(value, version)
}

// see takes note of a state of the record that has come.
func (c *claim) see(value []byte, version uint64) error {
	switch {
	case version == c.known.version:
		return nil
	case version < c.known.version:
		return fmt.Errorf("%w: lease %q had version %d, and now has %d (0: none)", ErrStaleStore, c.name, c.known.version, version)
	}
	rec, err := decode(c.key(), value)
	if err != nil {
		return err
	}
	if rec.Fence < c.fence && c.known.version != 0 {
		return fmt.Errorf("%w: the fence of lease %q was %d, and now is %d", ErrStaleStore, c.name, c.fence, rec.Fence)
	}
	c.known = sighting{rec, version, c.clock.now()}
	c.fence = max(c.fence, rec.Fence)
	maps.DeleteFunc(c.bids, func(holder string, _ time.Time) bool { return holder != rec.Holder }) // which were over older versions
	return nil
}

// bid tries to become the holder. It returns neither a lease nor an error if
// another has changed the record meanwhile, which it then has seen, as far as
// the store tells. The end of ctx does not end it: its outcome must be known.
func (c *claim) bid(ctx context.Context) (*Held, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.clock.timer(c.patience()))
	defer cancel()
	rec := record{Holder: rand.Text(), Label: c.label, Fence: c.fence + 1, TTL: c.ttl.Milliseconds()}
	sent := c.clock.now()
	version, err := c.store.Put(ctx, c.key(), rec.encode(), c.known.version)
	switch conflict := (*Conflict)(nil); {
	case err == nil:
		if err := c.seeOwn(rec, version); err != nil {
			return nil, err
		}
		return c.won(sent), nil
	case errors.As(err, &conflict):
		return nil, c.see(conflict.Value, conflict.Version)
	case errors.Is(err, ErrConflict):
		return nil, c.look(ctx)
	case errors.Is(err, ErrMisconfigured):
		return nil, fmt.Errorf("lease %q: %w", c.name, err)
	}
	was := c.known.version
	c.bids[rec.Holder] = sent
	if lerr := c.look(context.WithoutCancel(ctx)); lerr != nil {
		return nil, errors.Join(fmt.Errorf("lease %q: %w", c.name, err), lerr)
	}
	if h := c.adopt(); h != nil || c.known.version != was {
		return h, nil
	}
	return nil, fmt.Errorf("lease %q: %w", c.name, err)
}

// seeOwn takes note of what this one has written.
func (c *claim) seeOwn(rec record, version uint64) error {
	if version <= c.known.version {
		return fmt.Errorf("%w: writing lease %q over version %d gave %d", ErrStaleStore, c.name, c.known.version, version)
	}
	c.known = sighting{rec, version, c.clock.now()}
	c.fence = max(c.fence, rec.Fence)
	if c.wrote != nil {
		c.wrote(Change{rec.encode(), version})
	}
	return nil
}

// adopt returns the lease if a bid whose outcome was not known has won it, and
// there is time left.
func (c *claim) adopt() *Held {
	sent, ok := c.bids[c.known.rec.Holder]
	if !ok || c.clock.since(sent) > c.ttl/2 {
		return nil
	}
	if c.wrote != nil {
		c.wrote(Change{c.known.rec.encode(), c.known.version})
	}
	return c.won(sent)
}

// won returns the lease that the record shows, won by a write that was sent then.
// What other bids were under way can come to nothing any more.
func (c *claim) won(sent time.Time) *Held {
	clear(c.bids)
	c.own = c.known.rec.Holder
	return newHeld(c, sent)
}

// A vigil is how one who waits is told that there may be something to see: by the
// store, where it watches, and by the holder, where hear reaches it.
type vigil struct {
	claim   *claim
	ctx     context.Context
	cancel  context.CancelFunc
	changed <-chan Change // nil: the store does not watch
	began   bool          // it has been asked to
}

func (c *claim) newVigil(ctx context.Context) *vigil {
	v := &vigil{claim: c}
	v.ctx, v.cancel = context.WithCancel(ctx)
	return v
}

func (v *vigil) stop() { v.cancel() }

// wait waits until there may be something to see: d at the most, and longer where
// the store watches and the holder is well. It reports whether the record must be
// read for that; what has come as a change need not.
func (v *vigil) wait(ctx context.Context, d time.Duration) (read bool) {
	c := v.claim
	if v.watch() {
		return true // for what has changed before it watched
	}
	if left := c.known.rec.ttl() - c.clock.since(c.known.since); v.changed != nil && c.known.rec.Holder != "" {
		d = max(d, left)
	}
	ctx, cancel := context.WithTimeout(ctx, c.clock.timer(d))
	defer cancel()
	news, ok := Change{}, false
	heard := make(chan struct{})
	if seen := c.known.version; c.hear != nil && c.known.rec.Holder != "" {
		go func() { // ends with ctx; awaited below
			defer close(heard)
			news, ok = c.hear(ctx, seen)
		}()
		defer func() { cancel(); <-heard }()
	}
	select {
	case change, ok := <-v.changed:
		if !ok {
			v.changed = nil
		}
		return !ok || !v.note(change)
	case <-heard:
		return !ok || !v.note(news)
	case <-ctx.Done():
		return true
	}
}

// note takes note of a change, and reports whether that was possible. One that
// came later than what is known is old news.
func (v *vigil) note(change Change) bool {
	if change.Version <= v.claim.known.version {
		return change.Version > 0
	}
	return v.claim.see(change.Value, change.Version) == nil
}

// watch begins to watch the record, where the store can, once. It reports whether it
// has begun.
func (v *vigil) watch() (begun bool) {
	if v.began {
		return false
	}
	v.began = true
	if w, ok := v.claim.store.(Watcher); ok {
		v.changed, _ = w.Watch(v.ctx, v.claim.key()) // without it there is the poll
	}
	return v.changed != nil
}
