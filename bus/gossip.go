package bus

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/wire"
)

const (
	maxGossip    = 1 << 10 // bytes of address, headers and body
	gossipWindow = 512     // sequence numbers in which duplicates are known
	gossipNodes  = 4096    // nodes of which they are

	// clockSkew is how far the clocks of two nodes may differ. What is older than
	// this node is dropped, by the sender's clock: a notice that is repeated late
	// does less harm than one that is never heard.
	clockSkew = time.Hour
)

// gossip is this node's end of the gossip lane.
type gossip struct {
	*services
	rings *rings
	names interface{ nameOf(boot uint64) string }

	sending sync.Mutex
	seq     uint64 // of the last that was sent; guarded by sending

	mu    sync.Mutex
	lane  Gossiper          // nil: there is none
	heard map[uint64]*heard // by boot
}

func (l *gossip) init(s *services, r *rings, m *members) { l.services, l.rings, l.names = s, r, m }

func (l *gossip) attach(lane Gossiper) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lane = lane
}

// heard is what has come from one node.
type heard struct {
	from uint64                    // the first sequence number that came
	top  uint64                    // the highest
	seen [gossipWindow / 64]uint64 // those up to it, by number modulo gossipWindow
	at   int64
}

// mark notes seq. It reports whether it is new, and how many are missing for
// the first time; missed is negative if one of those has come after all.
func (h *heard) mark(seq uint64) (isNew bool, missed int64) {
	bit := func(n uint64) (*uint64, uint64) { return &h.seen[n/64%uint64(len(h.seen))], 1 << (n % 64) }
	switch {
	case h.top == 0: // the first that this node hears
		h.from, h.top = seq, seq
	case seq > h.top:
		missed = int64(seq - h.top - 1)
		for n := h.top + 1; n < seq && n-h.top <= gossipWindow; n++ {
			w, b := bit(n)
			*w &^= b
		}
		h.top = seq
	case h.top-seq >= gossipWindow:
		return false, 0
	default:
		if w, b := bit(seq); *w&b != 0 {
			return false, 0
		}
		if seq > h.from { // else it was never missed
			missed = -1
		}
	}
	w, b := bit(seq)
	*w |= b
	return true, missed
}

// publish publishes over the gossip lane, and to this node's consumers.
func (l *gossip) publish(address string, o *outgoing) error {
	name := l.codecs.name(o.codec)
	headers, _ := o.header.size()
	if n := len(address) + headers + len(name) + len(o.body); n > maxGossip {
		return fmt.Errorf("%w: %d bytes of address, headers and body for the gossip lane at %q; the limit is %d", ErrTooLarge, n, address, maxGossip)
	}
	g := &wire.Gossip{Sent: uint64(time.Now().UnixMilli()), Address: address, Codec: uint32(o.head.Codec()), CodecName: name, Body: o.body}
	for k, vs := range o.header {
		for _, v := range vs {
			g.Headers = append(g.Headers, &wire.Header{Key: k, Value: v})
		}
	}
	if err := l.toLane(g); err != nil {
		return fmt.Errorf("gossip at %q: %w", address, err)
	}
	l.stats.add(countGossipSent, 1)
	g.Body = slices.Clone(g.Body)
	l.deliver(g, o.header, false)
	return nil
}

// toLane gives a publish to the lane, with the next number: one that the lane
// does not take has none, or others would miss it.
func (l *gossip) toLane(g *wire.Gossip) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	l.mu.Lock()
	lane := l.lane
	l.mu.Unlock()
	g.Boot, g.Seq = l.self.boot.Load(), l.seq+1
	if lane == nil {
		return nil
	}
	b, err := proto.Marshal(g)
	if err == nil {
		err = lane.Gossip(b)
	}
	if err == nil {
		l.seq++
	}
	return err
}

// receive delivers what came over the lane, once, unless this node is
// where it came from, or younger.
func (l *gossip) receive(payload []byte) {
	var g wire.Gossip
	if err := proto.Unmarshal(payload, &g); err != nil || checkAddress(g.Address) != nil || g.Seq == 0 {
		l.stats.add(countGossipMalformed, 1)
		return
	}
	if !l.isNews(&g) {
		return
	}
	var header Header
	for _, h := range g.Headers {
		if header == nil {
			header = Header{}
		}
		header.Add(h.Key, h.Value)
	}
	l.stats.add(countGossipReceived, 1)
	l.deliver(&g, header, true)
}

func (l *gossip) isNews(g *wire.Gossip) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leave.at(busLeaves) || g.Boot == l.self.boot.Load() {
		return false
	}
	if int64(g.Sent) < l.self.node.Load().Since.Add(-clockSkew).UnixMilli() {
		l.stats.add(countGossipOld, 1)
		return false
	}
	h := l.of(g.Boot)
	h.at = l.clock.now()
	isNew, missed := h.mark(g.Seq)
	if !isNew {
		l.stats.add(countGossipDuplicates, 1)
	}
	l.stats.add(countGossipMissed, uint64(missed)) // two's complement: it may fall
	return isNew
}

// of returns what has come from a boot. Of too many the one that was silent
// longest is forgotten.
func (l *gossip) of(boot uint64) *heard {
	if h := l.heard[boot]; h != nil {
		return h
	}
	if l.heard == nil {
		l.heard = map[uint64]*heard{}
	}
	if len(l.heard) >= gossipNodes {
		var oldest uint64
		for b, h := range l.heard {
			if o := l.heard[oldest]; o == nil || h.at < o.at {
				oldest = b
			}
		}
		delete(l.heard, oldest)
	}
	h := &heard{}
	l.heard[boot] = h
	return h
}

// deliver gives a message of the lane to this node's consumers. One that
// has a window of such messages waiting misses it.
func (l *gossip) deliver(g *wire.Gossip, header Header, remote bool) {
	r := l.rings.dir.get(g.Address)
	if r == nil {
		return
	}
	codec := l.codecs.find(uint64(g.Codec), []byte(g.CodecName))
	if codec == codecUnknown {
		l.rings.undecodable(g.Address, l.names.nameOf(g.Boot), describeCodec(uint64(g.Codec), []byte(g.CodecName)))
		return
	}
	deadline := l.clock.now() + int64(defaultTimeout)
	for cn := r.mine.Load(); cn != nil; cn = cn.sibling.Load() {
		if remote && cn.made&madeLocal != 0 {
			continue
		}
		ms := make([]Message, 1)
		m := &ms[0]
		m.setBody(g.Body)
		m.id, m.deadline = g.Boot, deadline
		m.bits = traits(kindPublish, codec, 0) | byGossip
		m.setRare(header, 0)
		m.cost = uint32(cost(len(g.Body), header))
		l.give(cn, ms)
	}
}

// give gives a message to a consumer, if that has room.
func (l *gossip) give(c *Consumer, ms []Message) {
	c.mu.Lock()
	if c.closed || c.box != nil && c.box.gossiped >= int64(c.window) {
		c.mu.Unlock()
		c.local.home.lose(LossDropped, 1)
		return
	}
	ms[0].in = c.node.originOf(c)
	start := c.putLocked(ms)
	c.box.gossiped += int64(ms[0].cost)
	c.mu.Unlock()
	if start {
		c.start()
	}
}
