package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/runrig-go/runrig/cluster"
)

// errNoSuchHost is what a bind to an address of another host gets.
var errNoSuchHost = errors.New("cannot assign requested address")

// A Network is a network in memory. Packets and pieces of streams take 0.2 to
// 2 ms, packets come in any order, and nothing is lost until one of the methods
// says so. Its methods may be called concurrently. Make one with [NewNetwork].
type Network struct {
	mu      sync.Mutex
	hosts   map[netip.Addr]*host
	faults  faults
	paused  map[netip.Addr][]func() // packets that wait for a host that is paused
	streams map[*stream]bool
	changed chan struct{} // closed and replaced when a host or a block changes

	chance          sync.Mutex // may be taken while mu is held
	rng             *rand.Rand
	loss, duplicate float64
	delay           func(*rand.Rand) time.Duration
}

type direction struct{ from, to netip.Addr }

// faults are the rules by which hosts do not hear each other, whenever they come.
type faults struct {
	blocked  map[direction]bool
	silenced map[netip.Addr]bool
	side     map[netip.Addr]int // of Partition; 0: the group of those that it did not name
}

func noFaults() faults {
	return faults{map[direction]bool{}, map[netip.Addr]bool{}, map[netip.Addr]int{}}
}

// block reports whether what goes in a direction is lost.
func (f *faults) block(d direction) bool {
	return d.from != d.to && (f.blocked[d] || f.silenced[d.from] || f.silenced[d.to] || f.side[d.from] != f.side[d.to])
}

// NewNetwork returns a network whose delays and losses are drawn from seed.
func NewNetwork(seed uint64) *Network {
	return &Network{
		rng:     rand.New(rand.NewPCG(seed, seed)),
		hosts:   map[netip.Addr]*host{},
		faults:  noFaults(),
		paused:  map[netip.Addr][]func(){},
		streams: map[*stream]bool{},
		delay: func(r *rand.Rand) time.Duration {
			return time.Duration(200+r.IntN(1800)) * time.Microsecond
		},
		changed: make(chan struct{}),
	}
}

// Host returns the network as a host at that IP address sees it, for
// [cluster.Config].Network.
func (n *Network) Host(ip netip.Addr) cluster.Network {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[ip] == nil {
		n.hosts[ip] = &host{net: n, ip: ip, listeners: map[uint16]*listener{}, packets: map[uint16]*packets{}}
	}
	return n.hosts[ip]
}

// SetLoss makes the network lose that share of packets, from 0 to 1. Streams
// lose nothing.
func (n *Network) SetLoss(share float64) {
	n.chance.Lock()
	defer n.chance.Unlock()
	n.loss = share
}

// SetDuplicates makes that share of packets, from 0 to 1, arrive twice.
func (n *Network) SetDuplicates(share float64) {
	n.chance.Lock()
	defer n.chance.Unlock()
	n.duplicate = share
}

// SetDelay sets how late a packet or a piece of a stream arrives; draw is given
// the network's source of chance and must do nothing but draw. It is for streams
// that are opened later too.
func (n *Network) SetDelay(draw func(*rand.Rand) time.Duration) {
	n.chance.Lock()
	defer n.chance.Unlock()
	n.delay = draw
}

// Block loses packets and holds up streams that go from one host to another; what
// goes the other way passes. A dial needs both ways.
func (n *Network) Block(from, to netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults.blocked[direction{from, to}] = true
	n.holdAll()
	n.notify()
}

// Silence loses packets and holds up streams from and to a host.
func (n *Network) Silence(ip netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults.silenced[ip] = true
	n.holdAll()
	n.notify()
}

// Partition splits the network: hosts of different groups do not hear each
// other. Hosts that no group names, those that come later too, are a group of their
// own. It ends what Partition, Silence and Block did before.
func (n *Network) Partition(groups ...[]netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = noFaults()
	for i, g := range groups {
		for _, ip := range g {
			n.faults.side[ip] = i + 1
		}
	}
	n.holdAll()
	n.notify()
}

// Heal ends Partition, Silence and Block: streams that were held up go on.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = noFaults()
	n.holdAll()
	n.notify()
}

// Pause stops a host as SIGSTOP stops a process, as far as others can tell: it
// says nothing any more; what goes to it waits, packets up to what a socket
// holds, and comes all at once with Resume; a dial to it succeeds, and then
// nobody answers. The goroutines of the host itself go on, with nobody to talk
// to.
func (n *Network) Pause(ip netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, is := n.paused[ip]; !is && n.hosts[ip] != nil {
		n.paused[ip] = nil
		n.holdAll()
	}
}

// Resume ends Pause.
func (n *Network) Resume(ip netip.Addr) {
	n.mu.Lock()
	waiting := n.paused[ip]
	delete(n.paused, ip)
	n.holdAll()
	n.notify()
	n.mu.Unlock()
	for _, arrive := range waiting {
		arrive()
	}
}

// wait keeps a packet to a host that is paused, and reports whether it is.
func (n *Network) wait(ip netip.Addr, arrive func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	waiting, is := n.paused[ip]
	if is && len(waiting) < packetQueue {
		n.paused[ip] = append(waiting, arrive)
	}
	return is
}

// stalls reports whether streams do not pass in a direction. The caller holds mu.
func (n *Network) stalls(d direction) bool {
	_, from := n.paused[d.from]
	_, to := n.paused[d.to]
	return from || to || n.faults.block(d)
}

// holdAll stalls and resumes streams by what is blocked and paused. The caller
// holds mu.
func (n *Network) holdAll() {
	for s := range n.streams {
		for _, d := range []direction{{s.a, s.b}, {s.b, s.a}} {
			s.hold(d.from, d.to, n.stalls(d))
		}
	}
}

// Reset breaks all streams between two hosts, at both ends.
func (n *Network) Reset(a, b netip.Addr) {
	for _, s := range n.between(a, b) {
		s.near.Reset()
	}
}

// Cut loses for good all that the streams from one host to another carry, and
// lets the other way pass; new streams are not affected.
func (n *Network) Cut(from, to netip.Addr) {
	for _, s := range n.between(from, to) {
		if s.a == from {
			s.near.Cut()
		} else {
			s.far.Cut()
		}
	}
}

// Kill ends a host as the end of a process does: its ports are closed and its
// streams reset. The address can be used again, by another Host.
func (n *Network) Kill(ip netip.Addr) {
	for _, s := range n.remove(ip) {
		s.near.Reset()
	}
}

// PowerOff ends a host as a loss of power does: nothing of it is heard any more,
// and nobody is told. The address can be used again, by another Host.
func (n *Network) PowerOff(ip netip.Addr) {
	for _, s := range n.remove(ip) {
		s.near.Cut()
		s.far.Cut()
	}
}

// remove forgets a host, closes its ports and returns its streams.
func (n *Network) remove(ip netip.Addr) (its []*stream) {
	n.mu.Lock()
	h := n.hosts[ip]
	delete(n.hosts, ip)
	delete(n.paused, ip)
	for s := range n.streams {
		if s.a == ip || s.b == ip {
			its = append(its, s)
		}
	}
	n.notify()
	n.mu.Unlock()
	if h != nil {
		h.close()
	}
	return its
}

// between returns the streams between two hosts, whoever opened them.
func (n *Network) between(a, b netip.Addr) (list []*stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for s := range n.streams {
		if s.a == a && s.b == b || s.a == b && s.b == a {
			list = append(list, s)
		}
	}
	return list
}

// notify wakes dials that wait. The caller holds mu.
func (n *Network) notify() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// latency draws a delay.
func (n *Network) latency() time.Duration {
	n.chance.Lock()
	defer n.chance.Unlock()
	return n.delay(n.rng)
}

// fate says when the copies of a packet arrive, and where; none if it is lost.
func (n *Network) fate(from, to netip.AddrPort) (at *packets, delays []time.Duration) {
	// Draw always: what is blocked must not change the fate of other packets.
	lost, delays := n.draw()
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[to.Addr()]
	_, paused := n.paused[from.Addr()]
	if lost || h == nil || paused || n.faults.block(direction{from.Addr(), to.Addr()}) {
		return nil, nil
	}
	return h.packets[to.Port()], delays
}

func (n *Network) draw() (lost bool, delays []time.Duration) {
	n.chance.Lock()
	defer n.chance.Unlock()
	lost, twice := n.rng.Float64() < n.loss, n.rng.Float64() < n.duplicate
	delays = append(delays, n.delay(n.rng))
	if twice {
		delays = append(delays, n.delay(n.rng))
	}
	return lost, delays
}

// route returns the listener at an address, nil if there is none, or says that
// packets do not pass; changed closes when that may be different.
func (n *Network) route(from netip.Addr, to netip.AddrPort) (l *listener, passes bool, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, paused := n.paused[from]
	if paused || n.faults.block(direction{from, to.Addr()}) || n.faults.block(direction{to.Addr(), from}) {
		return nil, false, n.changed
	}
	if h := n.hosts[to.Addr()]; h != nil {
		l = h.listeners[to.Port()]
	}
	return l, true, n.changed
}

// A host is the network as one IP address sees it.
type host struct {
	net *Network
	ip  netip.Addr

	// The network's mu guards the following.
	listeners map[uint16]*listener
	packets   map[uint16]*packets
	dials     uint16 // over 10,000 they begin anew
	dead      bool
}

// Route returns the host's address.
func (h *host) Route() (netip.Addr, error) { return h.ip, nil }

// Listen opens a port.
func (h *host) Listen(_ context.Context, addr netip.AddrPort) (net.Listener, cluster.PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if !addr.Addr().IsUnspecified() && addr.Addr() != h.ip {
		return nil, nil, fmt.Errorf("listen %v: %w", addr, errNoSuchHost)
	}
	if h.dead {
		return nil, nil, fmt.Errorf("listen %v: %w", addr, errNoSuchHost)
	}
	port := addr.Port()
	if port == 0 {
		port = h.freePort()
	}
	if port == 0 || h.listeners[port] != nil {
		return nil, nil, fmt.Errorf("listen %v: %w", addr, syscall.EADDRINUSE)
	}
	at := netip.AddrPortFrom(h.ip, port)
	l := &listener{host: h, addr: at, queue: make(chan *conn, acceptQueue), done: make(chan struct{})}
	p := &packets{host: h, addr: at, queue: make(chan packet, packetQueue), done: make(chan struct{})}
	h.listeners[port], h.packets[port] = l, p
	h.net.notify()
	return l, p, nil
}

// freePort returns a port that nobody listens at, 0 if there is none. The caller
// holds the network's mu.
func (h *host) freePort() uint16 {
	for port := uint16(40000); port < 50000; port++ {
		if h.listeners[port] == nil {
			return port
		}
	}
	return 0
}

// Dial opens a stream. To a host that is blocked it waits until ctx ends; a port
// that nobody listens at refuses.
func (h *host) Dial(ctx context.Context, _ netip.Addr, to netip.AddrPort) (net.Conn, error) {
	for {
		l, passes, changed := h.net.route(h.ip, to)
		if !passes {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, dialError(to, os.ErrDeadlineExceeded)
			}
		}
		if err := sleep(ctx, h.net.latency()+h.net.latency()); err != nil {
			return nil, dialError(to, os.ErrDeadlineExceeded)
		}
		if l == nil {
			return nil, dialError(to, syscall.ECONNREFUSED)
		}
		near, far, err := h.net.connect(h, l)
		if err != nil {
			return nil, dialError(to, err)
		}
		select {
		case l.queue <- far:
			return near, nil
		case <-l.done:
			near.drop(far)
			return nil, dialError(to, syscall.ECONNREFUSED)
		case <-ctx.Done():
			near.drop(far)
			return nil, dialError(to, os.ErrDeadlineExceeded)
		}
	}
}

func dialError(to netip.AddrPort, err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close closes all ports, for good.
func (h *host) close() {
	h.net.mu.Lock()
	h.dead = true
	var all []interface{ Close() error }
	for _, l := range h.listeners {
		all = append(all, l)
	}
	for _, p := range h.packets {
		all = append(all, p)
	}
	h.net.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}
