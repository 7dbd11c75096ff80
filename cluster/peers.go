package cluster

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/wire"
)

// maxUnknown bounds the peers that have a link although gossip has not told of
// them, yet.
const maxUnknown = 1024

// peerNews is who hears of what becomes of peers. Its methods must not block.
type peerNews interface {
	eager() bool                       // is this node still joining? Then it dials at once
	linked(bus.Peer)                   // the link is up, with the peer's set of routes
	unlinked(bus.Peer, error)          // the link that was up has ended; nil: by the peer's goodbye
	unreached(who bus.Peer, err error) // a dial brought no link
	outlived(bus.Peer)                 // another boot has been proven to live at the peer's address
}

// peers keeps one peer for each boot that this node heard of, and finds it for
// whoever has news of it.
type peers struct {
	own        wire.Greeting // what this node tells of itself
	attachment *bus.Attachment
	port       *port
	counts     *counters
	log        *slog.Logger
	surplus    func(caller)        // a stream was closed for maxUnknown; must not block
	refused    func(*RefusedError) // one of two nodes refused the other; must not block
	news       peerNews

	attempts atomic.Uint64 // counts this node's dials, to whichever peer

	// Places for dials. When many nodes start, each is to dial each of the others: then most
	// that wait for a place are dialled before, and no pair makes two handshakes for a link.
	first, second chan struct{}

	ctx  context.Context // ends when the peers shall end
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	quiet  bool // dial nobody any more
	closed bool
	byBoot map[uint64]*peer
	proofs uint64 // of who lives at an address, so far
}

func (s *peers) start() {
	s.byBoot = map[uint64]*peer{}
	s.first, s.second = make(chan struct{}, dialsFirst), make(chan struct{}, dialsSecond)
	s.ctx, s.stop = context.WithCancel(context.Background())
}

// places returns the places for dials to a boot: of two dials that cross, that of the
// smaller boot id wins (H2).
func (s *peers) places(boot uint64) chan struct{} {
	if s.own.Boot < boot {
		return s.first
	}
	return s.second
}

// hush ends dialling: the node leaves. Links and accepting go on.
func (s *peers) hush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = true
}

func (s *peers) hushed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quiet
}

// close ends all links and dials, and waits for the goroutines.
func (s *peers) close() {
	s.mu.Lock()
	s.quiet, s.closed = true, true
	s.mu.Unlock()
	s.stop()
	s.wg.Wait()
}

// greet takes a stream whose HELLO has been read.
func (s *peers) greet(c caller) {
	if v := judge(&s.own, c.hello); v != wire.OK {
		s.turnAway(c, v)
		return
	}
	taken, full := s.take(c)
	if !taken {
		sever(c.Conn) // not under mu, and without TLS's goodbye: nobody shall wait for it
	}
	if full {
		s.surplus(c)
	}
}

// take gives a stream to the peer of its boot, unless the node closes, there are
// too many boots (full), or so many dials of this one that it will dial again.
func (s *peers) take(c caller) (taken, full bool) {
	who := peerOf(c.hello)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, false
	}
	p := s.find(who, len(s.byBoot) < maxUnknown)
	if p == nil {
		return false, true
	}
	o := offer{caller: c}
	if !p.isReplaced() { // else it is refused, and proves nothing
		o.after = s.replace(who)
	}
	select {
	case p.inbox <- o:
		return true, false
	default:
		s.counts.crowdedPeers.Add(1)
		return false, false
	}
}

// turnAway answers a HELLO that is refused for what it says.
func (s *peers) turnAway(c caller, v wire.Verdict) {
	_ = answer(c, s.own, v, s.attempts.Load())
	_ = c.Close()
	if v == wire.Self || v == wire.Stale {
		if c.hello.Attempt != 0 { // else it was a question
			s.counts.refusal(reasons[v], false)
		}
		return
	}
	s.refused(refusal(v, nameOf(c.hello, c.RemoteAddr()), false, detail(&s.own, c.hello)))
}

// answer writes a WELCOME.
func answer(c caller, own wire.Greeting, v wire.Verdict, count uint64) error {
	own.Verdict, own.Attempt = v, count
	return wire.Write(c, &own)
}

// find returns the peer of a boot, and makes it if it is new and may be made.
// The caller holds mu.
func (s *peers) find(who bus.Peer, mayAdd bool) *peer {
	if p := s.byBoot[who.Boot]; p != nil || !mayAdd || s.closed {
		return p
	}
	p := newPeer(s, who)
	s.byBoot[who.Boot] = p
	s.wg.Add(1)
	go p.run() // ends with ctx, or when it has retired
	return p
}

// replace (H5) takes note that who lives at its address: another boot that
// advertised it is dead. It returns channels that close when the links of such
// boots are down. The caller holds mu.
func (s *peers) replace(who bus.Peer) (after []<-chan struct{}) {
	s.proofs++
	if p := s.byBoot[who.Boot]; p != nil {
		p.proven = s.proofs
	}
	for boot, p := range s.byBoot {
		if boot != who.Boot && p.addr() == who.Addr {
			after = append(after, p.supersede())
		}
	}
	return after
}

// proofCount returns how many proofs of who lives where have been taken.
func (s *peers) proofCount() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proofs
}

// answered (H5) takes note of a WELCOME of who, to a dial that began after so many
// proofs: it proves who lived at its address at some time since. If another boot
// has been proven there meanwhile nobody can tell which of the two is the newer,
// as a host may lose power with its WELCOME on the way and come back: then it
// proves nothing, and whoever lives is found by the next dial. For the rest it
// returns what replace does.
func (s *peers) answered(who bus.Peer, began uint64) (after []<-chan struct{}, proof bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for boot, p := range s.byBoot {
		if boot != who.Boot && p.proven > began && p.addr() == who.Addr {
			return nil, false
		}
	}
	return s.replace(who), true
}

// alive says that who is among the living, and should be linked.
func (s *peers) alive(who bus.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.find(who, true); p != nil {
		p.tell(true)
	}
}

// departed says that there is nobody to dial any more, as far as is known.
func (s *peers) departed(boot uint64) {
	s.mu.Lock()
	p := s.byBoot[boot]
	s.mu.Unlock()
	if p != nil {
		p.tell(false)
	}
}

// retire forgets a peer that has nothing to do, unless there is news for it.
func (s *peers) retire(p *peer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p.inbox) > 0 || len(p.news) > 0 {
		return false
	}
	delete(s.byBoot, p.who.Boot)
	return true
}

// knows reports whether a peer advertises that IP address.
func (s *peers) knows(ip netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.byBoot {
		if a, err := netip.ParseAddrPort(p.addr()); err == nil && a.Addr() == ip {
			return true
		}
	}
	return false
}
