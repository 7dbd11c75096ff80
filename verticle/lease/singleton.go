package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
	"github.com/runrig-go/runrig/verticle/internal/guard"
)

// Singleton returns a verticle that runs another at one place in the cluster: all
// nodes deploy it, and the one that holds the lease of that name deploys v as its
// child. The others stand by. Its Start does not wait for the lease.
//
// The child is undeployed before the lease can end: when the deployment of the
// Singleton is, and when the lease cannot be renewed, in the margin that is left
// then ([WithMargin]). What it still does after that is done without the lease, and
// logged as an error: only the fence protects from it, which v finds by [Fence] of
// Start's context. In the latter case the Singleton stands by again. When v fails
// the Singleton does, as with any child, and the lease is released; see
// [verticle.WithRestart]. When v undeploys itself the lease is released too, and the
// Singleton stands by no more.
//
// Over the bus the holder tells the standbys when it has renewed the lease, and when
// it has released it: the next one then starts within milliseconds. After a crash
// the ttl has to pass, from the last renewal on. A standby that hears nothing of a
// holder reads the store each twentieth of the ttl, others once a ttl. Where several
// stand by, those of the newest revision come first ([WithRevision]).
//
// Calls to an address of v's find no consumer between two holders: what had been
// sent to the old one and was not handled waits for the next one until its
// deadline; a new call gets [bus.ErrNoConsumer], or waits too, by [Await].
//
// A nil store or verticle, a bad name and bad options are errors of Deploy. So is
// what the store says is wrong with its set-up ([ErrMisconfigured]), later: then
// the deployment fails.
func Singleton(store Store, name string, v verticle.Verticle, opts ...Option) verticle.Verticle {
	return &singleton{store: store, name: name, verticle: v, opts: opts}
}

type singleton struct {
	store    Store
	name     string
	verticle verticle.Verticle
	opts     []Option

	current *standby // of the life that runs; the turn's
}

// Start begins to stand by.
func (s *singleton) Start(_ context.Context, d *verticle.Deployment) error {
	if s.verticle == nil {
		return fmt.Errorf("lease: Singleton %q of a nil Verticle", s.name)
	}
	c, err := newClaim(s.store, s.name, s.opts)
	if err != nil {
		return err
	}
	if c.log == nil {
		c.log = d.Logger()
	}
	c.log = guard.Logger(c.log)
	if c.poll == 0 {
		c.poll = c.ttl
	}
	y := &standby{d: d, verticle: s.verticle, claim: c, court: newCourt(), done: make(chan struct{})}
	y.ctx, y.cancel = context.WithCancel(context.Background())
	c.hear, c.wrote = y.listen, y.court.tell
	s.current = y
	d.Go(func(ctx context.Context) error { // until Stop or, if that is not called, until the deployment ends
		defer context.AfterFunc(ctx, y.cancel)()
		return y.run()
	})
	return nil
}

// Stop releases the lease if it is held here: the child is undeployed already.
func (s *singleton) Stop(ctx context.Context) error {
	s.current.cancel()
	select {
	case <-s.current.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("lease %q is not released: %w", s.name, context.Cause(ctx))
	}
}

// standby is a life of a singleton's deployment.
type standby struct {
	d        *verticle.Deployment
	verticle verticle.Verticle
	claim    *claim
	ctx      context.Context // ends when the deployment does
	cancel   context.CancelFunc
	court    *court
	done     chan struct{}
}

// run stands by and reigns by turns.
func (y *standby) run() error {
	defer close(y.done)
	for {
		h, err := y.claim.acquire(y.ctx)
		if err == nil {
			err = y.reign(h)
		}
		switch {
		case y.ctx.Err() != nil, err == nil:
			return nil
		case errors.As(err, new(*lostReign)):
			y.claim.log.Warn("a singleton has lost its lease and stands by", "lease", y.claim.name, "err", err)
		case err != nil:
			return err
		}
	}
}

// reign runs the verticle for as long as the lease is held, and releases it. Those
// who stand by are told of that.
func (y *standby) reign(h *Held) error {
	log := y.claim.log
	log.Info("a singleton has its lease", "lease", y.claim.name, "fence", h.fence)
	err := y.court.open(y.d.EventBus(), y.claim.name)
	if err == nil {
		defer y.court.close()
		err = y.rule(h)
	}
	if rerr := h.Release(); rerr != nil {
		log.Warn("a lease was not released", "lease", y.claim.name, "err", rerr)
	}
	return err
}

// rule deploys the verticle and undeploys it when the lease is lost. It returns nil
// when the verticle has been undeployed: by itself, or as the singleton is.
func (y *standby) rule(h *Held) error {
	inner, err := y.d.Deploy(withFence(h.ctx, h.fence), y.verticle)
	if err != nil {
		if lost := context.Cause(h.ctx); errors.Is(lost, ErrLost) {
			return &lostReign{errors.Join(lost, err)}
		}
		return err
	}
	select {
	case <-inner.Done():
		return inner.Err()
	case <-h.ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), y.claim.clock.timer(y.claim.margin))
	defer cancel()
	if err := inner.Undeploy(ctx); err != nil {
		y.claim.log.Error("a singleton's verticle has not ended in the margin of its lease", "lease", y.claim.name, "fence", h.fence, "err", err)
		<-inner.Done() // so that this node does not start it once more beside itself
	}
	return &lostReign{context.Cause(h.ctx)}
}

// lostReign says that the singleton's own lease was lost: its verticle may have errors
// of another lease's.
type lostReign struct{ error }

func (l *lostReign) Unwrap() error { return l.error }

// listen waits for news of the lease since a version, from its holder. It reports
// false when there is a reason to read the record instead: the holder's node is
// gone, or nobody is to be asked for a while. An answer of the holder's is as good
// as a read: what it tells of was in the store before.
func (y *standby) listen(ctx context.Context, seen uint64) (news Change, ok bool) {
	until := y.claim.clock.now().Add(y.claim.ttl / 20)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, y.claim.ttl/20, 500*time.Millisecond) {
		d, err := bus.Request[decree](ctx, y.d.EventBus(), courtAddress(y.claim.name), petition{y.claim.revision, seen}, bus.Reserved())
		switch {
		case err == nil:
			sleep(ctx, time.Duration(d.Delay)*time.Millisecond)
			return Change{d.Record, d.Version}, d.Version > 0
		case errors.Is(err, bus.ErrLinkLost), ctx.Err() != nil:
			return Change{}, false
		}
		if sleep(ctx, pause); !y.claim.clock.now().Before(until) {
			return Change{}, false
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
