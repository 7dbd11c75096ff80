package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/wire"
)

const (
	redialLeast  = 100 * time.Millisecond // the first pause after a link broke
	redialMost   = 5 * time.Second        // the longest
	firstTurn    = 200 * time.Millisecond // what a newcomer gets to dial before it is dialled
	forgetAfter  = time.Minute            // how long a boot without a link that gossip does not know is remembered
	steadyAfter  = 5 * time.Second        // a link that lived so long is redialled at once when it breaks
	dialsFirst   = 3                      // dials at once to peers against whose own this node's win
	dialsSecond  = 1                      // the same to the others, which mostly dial first
	dialHolds    = time.Second            // how long a dial counts that is not answered
	brokeLately  = 30 * time.Second       // after a link broke it is dialled more often for so long
	redialLately = 2 * time.Second        // and this is the longest pause then
)

// An offer is an accepted stream whose HELLO is to be decided on, once the links
// of the boots that lived at the same address are down.
type offer struct {
	caller
	after []<-chan struct{}
}

// A peer owns all that this node has to do with one boot of another: at most one
// link, and at most one dial. One goroutine does it, so that links never
// overlap: ServeLink of the old one has returned before that of the new one begins.
type peer struct {
	set   *peers
	inbox chan offer
	news  chan struct{} // something below changed

	proven uint64 // number of the last proof that it lives; guarded by set.mu

	mu         sync.Mutex
	who        bus.Peer
	living     bool // gossip says so
	up         time.Time
	superseded chan struct{} // not nil: another boot lives at the address; closed when the link is down

	// The goroutine's own.
	crossing
	link     *link
	dialled  chan dialResult
	places   chan struct{}      // for a dial
	queued   bool               // it waits for a place
	cancel   context.CancelFunc // of the dial
	timer    *time.Timer
	armed    bool // the timer is for a dial
	farewell bool // the peer said goodbye
	expected bool
	forget   func()
	pause    backoff
	broke    time.Time // the last link
}

type link struct {
	conn   net.Conn
	cancel context.CancelFunc
	ended  chan error
	began  time.Time
}

type dialResult struct {
	began   uint64 // the proofs taken before
	conn    net.Conn
	welcome *wire.Greeting
	err     error
}

func newPeer(s *peers, who bus.Peer) *peer {
	return &peer{
		set:      s,
		inbox:    make(chan offer, 4),
		news:     make(chan struct{}, 1),
		who:      who,
		crossing: crossing{own: s.own.Boot, peer: who.Boot},
		places:   s.places(who.Boot),
		dialled:  make(chan dialResult, 1),
		pause:    backoff{least: redialLeast, most: redialMost},
		forget:   func() {},
	}
}

// tell brings news from gossip.
func (p *peer) tell(living bool) {
	p.mu.Lock()
	p.living = living
	p.mu.Unlock()
	p.wake()
}

// supersede (H5) says that another boot lives at the peer's address. The channel is
// closed when the link is down.
func (p *peer) supersede() <-chan struct{} {
	p.mu.Lock()
	if p.superseded == nil {
		p.superseded = make(chan struct{})
	}
	done := p.superseded
	p.mu.Unlock()
	p.wake()
	return done
}

func (p *peer) wake() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

func (p *peer) addr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.who.Addr
}

// run is the peer's goroutine.
func (p *peer) run() {
	defer p.set.wg.Done()
	p.timer = time.NewTimer(forgetAfter)
	defer p.timer.Stop()
	defer p.end()
	for {
		var ended chan error
		if p.link != nil {
			ended = p.link.ended
		}
		var place chan<- struct{}
		if p.queued {
			place = p.places
		}
		select {
		case o := <-p.inbox:
			p.consider(o)
		case <-p.news:
			p.listen()
		case place <- struct{}{}:
			p.admitted()
		case r := <-p.dialled:
			p.settle(r)
		case err := <-ended:
			p.lost(err)
		case <-p.timer.C:
			if p.ring() {
				return
			}
		case <-p.set.ctx.Done():
			return
		}
		p.plan()
	}
}

// end closes what is open and waits for it.
func (p *peer) end() {
	p.forget()
	if p.dialling {
		p.cancel()
		if r := <-p.dialled; r.conn != nil {
			_ = r.conn.Close()
		}
	}
	p.drop()
	p.clear()
	for {
		select {
		case o := <-p.inbox:
			_ = o.Close()
		default:
			return
		}
	}
}

// clear tells those who superseded this boot that its link is down.
func (p *peer) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	shut(p.superseded)
}

// shut closes a channel that only this goroutine closes, unless it is closed or
// nil.
func shut(c chan struct{}) {
	if c == nil {
		return
	}
	select {
	case <-c:
	default:
		close(c)
	}
}

func (p *peer) isReplaced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.superseded != nil
}

// listen takes in what changed.
func (p *peer) listen() {
	p.mu.Lock()
	living := p.living
	p.mu.Unlock()
	p.replaced = p.isReplaced()
	if p.replaced {
		p.set.news.outlived(p.who)
	}
	switch {
	case p.replaced && p.link != nil:
		p.set.log.Info("another node lives at a peer's address; its link ends", "peer", p.who.String(), "address", p.who.Addr)
		p.link.cancel() // no more messages, but what the dead boot sent is read to its end
	case p.replaced:
		p.clear()
	}
	switch {
	case living && !p.expected:
		p.expected = true
		p.forget = p.set.attachment.Expect(p.who)
		p.pause.reset()
		p.arm(p.turn())
	case !living && p.expected:
		p.expected = false
		p.forget()
		p.forget = func() {}
		p.queued = false
		p.disarm()
	}
}

// turn is how long the peer is given to dial first.
func (p *peer) turn() time.Duration {
	if p.set.news.eager() {
		return 0
	}
	return jitter(firstTurn, 0.2)
}

// plan sees to it that a peer that should be linked is dialled some time.
func (p *peer) plan() {
	if p.wanted() && !p.armed && !p.queued {
		p.pause.most = redialMost
		if time.Since(p.broke) < brokeLately {
			p.pause.most = redialLately
		}
		p.arm(p.pause.next())
	}
}

func (p *peer) wanted() bool {
	return p.expected && p.link == nil && !p.dialling && !p.farewell
}

func (p *peer) arm(d time.Duration) {
	p.armed = true
	p.timer.Reset(d)
}

func (p *peer) disarm() {
	p.armed = false
	p.timer.Reset(forgetAfter)
}

// ring acts on the timer: it waits for its turn to dial, or retires, of which it tells.
func (p *peer) ring() (retired bool) {
	wasDial := p.armed
	p.disarm()
	switch {
	case wasDial && p.wanted():
		p.queued = true
	case !p.expected && p.link == nil && !p.dialling:
		return p.set.retire(p)
	}
	return false
}

// admitted dials, as it has got a place for that, unless its peer has dialled meanwhile.
func (p *peer) admitted() {
	p.queued = false
	free := sync.OnceFunc(func() { <-p.places })
	if !p.wanted() || p.set.hushed() && !p.set.attachment.Open() { // a leaver may have something to place
		free()
		return
	}
	addr, err := netip.ParseAddrPort(p.addr())
	if err != nil {
		p.set.log.Warn("peer advertises no address", "peer", p.who.String(), "err", err)
		free()
		return
	}
	p.dial(addr, free)
}

// dial begins a dial. It calls free when it counts no more among those under way.
func (p *peer) dial(addr netip.AddrPort, free func()) {
	hello := p.set.own
	hello.Attempt = p.set.attempts.Add(1)
	hello.Target = p.who.Boot
	ctx, cancel := context.WithCancel(p.set.ctx)
	p.dialling, p.cancel = true, cancel
	r := dialResult{began: p.set.proofCount()}
	late := time.AfterFunc(dialHolds, free)
	go func() { // ends within dialTimeout or with ctx; run or end receive the result
		r.conn, r.welcome, r.err = ask(ctx, p.set.port, addr, hello)
		late.Stop()
		free()
		p.dialled <- r
	}()
}

// settle acts on the result of a dial.
func (p *peer) settle(r dialResult) {
	p.dialling = false
	p.cancel()
	after, proof := p.answered(r)
	switch {
	case r.err != nil:
	case !proof:
		r.err = errors.New("answered, but another node has called from its address meanwhile")
	case r.welcome.Boot != p.who.Boot:
		r.err = fmt.Errorf("answered by %v", peerOf(r.welcome))
	}
	if r.err != nil && r.conn != nil {
		sever(r.conn)
	}
	if r.err != nil {
		p.failed(r.err)
		return
	}
	p.mu.Lock()
	superseded := p.superseded
	p.superseded = nil // by a boot that is older, as this answer shows
	p.mu.Unlock()
	p.welcome(r.welcome.Attempt)
	p.makeWay(after, superseded)
	if p.isReplaced() {
		_ = r.conn.Close()
		return
	}
	p.serve(r.conn, peerOf(r.welcome))
}

// answered takes note of what a dial's WELCOME proves, if there is one.
func (p *peer) answered(r dialResult) (after []<-chan struct{}, proof bool) {
	if r.welcome == nil || r.welcome.Boot == 0 {
		return nil, false
	}
	return p.set.answered(peerOf(r.welcome), r.began)
}

// makeWay (H4, H6) waits until no link is up that must not overlap with a new one: the
// own one, and those of boots that lived at the address. It takes the own one
// down first, so that no two peers wait for each other.
func (p *peer) makeWay(after []<-chan struct{}, superseded chan struct{}) {
	p.drop()
	p.clear()
	shut(superseded)
	for _, down := range after {
		select {
		case <-down: // within the second for which ServeLink reads on
		case <-p.set.ctx.Done():
		}
	}
}

// failed acts on a dial that brought no link.
func (p *peer) failed(err error) {
	p.set.log.Debug("dial failed", "peer", p.who.String(), "address", p.who.Addr, "err", err)
	p.set.news.unreached(p.who, err)
	refused := new(RefusedError)
	switch {
	case !errors.As(err, &refused):
		p.set.counts.dialErrors.Add(1)
	case misconfigured(err):
		p.set.refused(refused)
	default:
		p.set.counts.refusal(refused, true)
		p.farewell = p.farewell || errors.Is(err, ErrLeaving)
	}
}

// consider decides on an offer.
func (p *peer) consider(o offer) {
	p.replaced = p.isReplaced()
	verdict := p.hello(o.caller.hello.Attempt, p.set.attachment.Open())
	if verdict != wire.OK {
		_ = answer(o.caller, p.set.own, verdict, p.set.attempts.Load())
		_ = o.Close()
		p.set.counts.refusal(reasons[verdict], false)
		p.set.log.Debug("refused a dial", "peer", p.who.String(), "err", reasons[verdict])
		return
	}
	p.makeWay(o.after, nil)
	if p.isReplaced() {
		_ = o.Close()
		return
	}
	if err := answer(o.caller, p.set.own, wire.OK, p.set.attempts.Load()); err != nil {
		_ = o.Close()
		p.set.log.Debug("dial given up", "peer", p.who.String(), "err", err)
		return
	}
	_ = o.SetDeadline(time.Time{})
	p.serve(o.Conn, peerOf(o.caller.hello))
}

// serve begins a link. There is none.
func (p *peer) serve(c net.Conn, who bus.Peer) {
	p.mu.Lock()
	p.who = who
	p.mu.Unlock()
	who.Since = time.Now()
	ctx, cancel := context.WithCancel(p.set.ctx)
	l := &link{conn: c, cancel: cancel, ended: make(chan error, 1), began: who.Since}
	p.link, p.linked, p.farewell = l, true, false
	go func() { // ends when conn closes or soon after ctx; run or drop receive the result
		l.ended <- p.set.attachment.ServeLink(ctx, who, c, func() { p.rise(who) })
	}()
}

// rise notes that the peer's set of routes is in. The bus calls it.
func (p *peer) rise(who bus.Peer) {
	p.mu.Lock()
	p.up = who.Since
	p.mu.Unlock()
	p.set.news.linked(who)
}

// drop breaks the link, if there is one, and waits until it is down.
func (p *peer) drop() {
	if p.link != nil {
		sever(p.link.conn)
		p.lost(<-p.link.ended)
	}
}

// sever closes a stream without the farewell of TLS, which could take seconds
// where nobody reads.
func sever(c net.Conn) {
	if s, ok := c.(*secured); ok {
		c = s.under
	}
	_ = c.Close()
}

// lost notes that the link has ended.
func (p *peer) lost(err error) {
	l := p.link
	l.cancel()
	p.link, p.linked = nil, false
	p.broke = time.Now()
	p.mu.Lock()
	wasUp := !p.up.IsZero()
	p.up = time.Time{}
	who := p.who
	p.mu.Unlock()
	p.clear()
	if wasUp {
		p.set.news.unlinked(who, err)
	}
	if time.Since(l.began) >= steadyAfter {
		p.pause.reset()
	}
	if err == nil {
		p.farewell = true
		p.set.log.Debug("peer said goodbye", "peer", who.String())
	} else {
		p.set.log.Debug("link ended", "peer", who.String(), "err", err)
	}
	if !p.armed {
		p.disarm() // start to forget
	}
}
