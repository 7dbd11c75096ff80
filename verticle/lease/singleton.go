package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
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
// The bus tells the standbys when to look at the store: at once when the holder
// releases the lease, so that the next one starts within milliseconds, and when the
// link to the holder's node ends; then the ttl of the lease has to pass. Otherwise
// each standby reads the store once a ttl, or as the store tells it ([Watcher]).
// Where several stand by, those of the newest revision come first ([WithRevision]).
//
// Calls to an address of v's find no consumer between two holders: what had been
// sent to the old one and was not handled waits for the next one until its
// deadline; a new call gets [bus.ErrNoConsumer].
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
	if c.poll == 0 {
		c.poll = c.ttl
	}
	y := &standby{d: d, verticle: s.verticle, claim: c, done: make(chan struct{})}
	y.ctx, y.cancel = context.WithCancel(context.Background())
	c.hint = y.listen
	s.current = y
	d.Go(func(context.Context) error { return y.run() }) // until Stop
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
	done     chan struct{}
	unheard  string // the holder of whom nothing was heard on the bus; of listen
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
		case errors.Is(err, ErrLost):
			y.claim.log.Warn("a singleton has lost its lease and stands by", "lease", y.claim.name, "err", err)
		case err != nil:
			return err
		}
	}
}

// reign runs the verticle for as long as the lease is held, and releases it.
func (y *standby) reign(h *Held) error {
	log := y.claim.log
	log.Info("a singleton has its lease", "lease", y.claim.name, "fence", h.fence)
	court, err := y.holdCourt()
	if err == nil {
		defer court.adjourn()
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
			return errors.Join(lost, err)
		}
		return err
	}
	select {
	case <-inner.Done():
		return inner.Err()
	case <-h.ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), y.claim.margin)
	defer cancel()
	if err := inner.Undeploy(ctx); err != nil {
		y.claim.log.Error("a singleton's verticle has not ended in the margin of its lease", "lease", y.claim.name, "fence", h.fence, "err", err)
		<-inner.Done() // so that this node does not start it once more beside itself
	}
	return context.Cause(h.ctx)
}

// The address at which the holder of a lease tells those who stand by that it has
// released it: they ask, and are answered then.
func courtAddress(name string) string { return "_runrig.lease." + name }

type petition struct {
	Revision string `json:"revision,omitempty"`
}

type decree struct {
	Delay int64 `json:"delay_ms,omitempty"` // that others, of a newer revision, come first
}

// precedence is how long older revisions wait.
const precedence = 400 * time.Millisecond

// court is where a holder is asked.
type court struct {
	consumer *bus.Consumer
	over     chan struct{} // closed when the lease is released

	mu        sync.Mutex
	revisions map[string]int // of those who wait
}

// standbys that may wait at a holder.
const courtRoom = 4096

func (y *standby) holdCourt() (*court, error) {
	c := &court{over: make(chan struct{}), revisions: map[string]int{}}
	var err error
	c.consumer, err = y.d.EventBus().Consume(courtAddress(y.claim.name), bus.Respond(c.hear), bus.WithConcurrency(courtRoom))
	return c, err
}

// adjourn answers all who wait.
func (c *court) adjourn() {
	close(c.over)
	_ = c.consumer.Close()
}

func (c *court) hear(ctx context.Context, p petition) (decree, error) {
	c.enter(p.Revision, 1)
	defer c.enter(p.Revision, -1)
	select {
	case <-c.over:
	case <-ctx.Done():
		return decree{}, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for r := range c.revisions {
		if newer(r, p.Revision) {
			return decree{Delay: precedence.Milliseconds()}, nil
		}
	}
	return decree{}, nil
}

func (c *court) enter(revision string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.revisions[revision] += n; c.revisions[revision] == 0 && n < 0 {
		select {
		case <-c.over: // those who are answered later must know of it
		default:
			delete(c.revisions, revision)
		}
	}
}

// newer reports whether a is a newer revision than b.
func newer(a, b string) bool {
	n, aerr := strconv.ParseUint(a, 10, 64)
	m, berr := strconv.ParseUint(b, 10, 64)
	if aerr == nil && berr == nil {
		return n > m
	}
	return cmp.Compare(a, b) > 0
}

// listen returns when the holder has released the lease, or its node is gone, or
// when ctx ends. Where nobody is to be asked it returns too, once for each holder:
// that one may have come and gone meanwhile.
func (y *standby) listen(ctx context.Context, holder string) {
	for try := 1; ; try++ {
		d, err := bus.Request[decree](ctx, y.d.EventBus(), courtAddress(y.claim.name), petition{y.claim.revision})
		switch {
		case err == nil:
			sleep(ctx, time.Duration(d.Delay)*time.Millisecond)
			return
		case errors.Is(err, bus.ErrLinkLost), ctx.Err() != nil:
			return
		}
		pause := y.claim.ttl / 20
		if holder != y.unheard {
			pause = y.claim.ttl / 100
		}
		if sleep(ctx, pause); ctx.Err() != nil {
			return
		}
		if holder != y.unheard && try == 2 {
			y.unheard = holder
			return
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
