package cluster

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/wire"
)

// maxUnknown bounds the peers that have a link although gossip has not told of
// them, yet.
const maxUnknown = 1024

// peers keeps one peer for each boot that this node heard of, and finds it for
// whoever has news of it.
type peers struct {
	own      wire.Greeting // what this node tells of itself
	links    *bus.Links
	port     *port
	counts   *counters
	log      *slog.Logger
	eager    func() bool         // is this node still joining? Then it dials at once
	linked   func(bus.Peer)      // the link with a peer is up, with its set of routes; must not block
	unlinked func(bus.Peer)      // the link with a peer that was up has ended; must not block
	refused  func(*RefusedError) // one of two nodes refused the other; must not block

	attempts atomic.Uint64 // counts this node's dials, to whichever peer

	ctx  context.Context // ends when the peers shall end
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	quiet  bool // dial nobody any more
	closed bool
	byBoot map[uint64]*peer
}

func (s *peers) start() {
	s.byBoot = map[uint64]*peer{}
	s.ctx, s.stop = context.WithCancel(context.Background())
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
	who := peerOf(c.hello)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.find(who, len(s.byBoot) < maxUnknown)
	if p == nil || s.closed {
		s.counts.crowdedPeers.Add(1)
		_ = c.Close()
		return
	}
	o := offer{caller: c}
	if !p.isReplaced() { // else it is refused, and proves nothing
		o.after = s.replace(who)
	}
	select {
	case p.inbox <- o:
	default: // so many dials of one boot at once: it will dial again
		s.counts.crowdedPeers.Add(1)
		_ = c.Close()
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

// replace takes note that who lives at its address: another boot that
// advertised it is dead. It returns channels that close when the links of such
// boots are down. The caller holds mu.
func (s *peers) replace(who bus.Peer) (after []<-chan struct{}) {
	for boot, p := range s.byBoot {
		if boot != who.Boot && p.addr() == who.Addr {
			after = append(after, p.supersede())
		}
	}
	return after
}

// answered takes note of a WELCOME of who: fresh proof of who lives at its
// address. It returns what replace does.
func (s *peers) answered(who bus.Peer) (after []<-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replace(who)
}

// alive says that gossip counts who among the living.
func (s *peers) alive(who bus.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.find(who, true); p != nil {
		p.tell(true)
	}
}

// departed says that gossip does not count a boot among the living any more,
// because it left or, if failed, because it did not answer.
func (s *peers) departed(boot uint64, failed bool) {
	s.mu.Lock()
	p := s.byBoot[boot]
	s.mu.Unlock()
	if p != nil {
		p.tell(false)
	}
	if failed {
		s.links.Probe(boot)
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

// since returns when the link with a boot came up; zero if there is none.
func (s *peers) since(boot uint64) time.Time {
	s.mu.Lock()
	p := s.byBoot[boot]
	s.mu.Unlock()
	if p == nil {
		return time.Time{}
	}
	return p.upSince()
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
