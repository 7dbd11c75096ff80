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
	sending sync.Mutex
	seq     uint64 // of the last that was sent

	heard map[uint64]*heard // by boot; guarded by core.mu
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

// publishGossip publishes over the gossip lane, and to this node's consumers.
func (c *core) publishGossip(address string, o *outgoing) error {
	name := c.codecs.name(o.codec)
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
	if err := c.toLane(g); err != nil {
		return fmt.Errorf("gossip at %q: %w", address, err)
	}
	c.stats.gossipSent.Add(1)
	g.Body = slices.Clone(g.Body)
	c.deliverGossip(g, o.header, false)
	return nil
}

// toLane gives a publish to the lane, with the next number: one that the lane
// does not take has none, or others would miss it.
func (c *core) toLane(g *wire.Gossip) error {
	c.gossip.sending.Lock()
	defer c.gossip.sending.Unlock()
	c.mu.Lock()
	lane := c.lane
	g.Boot, g.Seq = c.self.boot.Load(), c.gossip.seq+1
	c.mu.Unlock()
	if lane == nil {
		return nil
	}
	b, err := proto.Marshal(g)
	if err == nil {
		err = lane.Gossip(b)
	}
	if err == nil {
		c.gossip.seq++
	}
	return err
}

// receiveGossip delivers what came over the lane, once, unless this node is
// where it came from, or younger.
func (c *core) receiveGossip(payload []byte) {
	var g wire.Gossip
	if err := proto.Unmarshal(payload, &g); err != nil || checkAddress(g.Address) != nil || g.Seq == 0 {
		c.stats.gossipBad.Add(1)
		return
	}
	if !c.isNews(&g) {
		return
	}
	var header Header
	for _, h := range g.Headers {
		if header == nil {
			header = Header{}
		}
		header.Add(h.Key, h.Value)
	}
	c.stats.gossipReceived.Add(1)
	c.deliverGossip(&g, header, true)
}

func (c *core) isNews(g *wire.Gossip) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leave.at(busLeaves) || g.Boot == c.self.boot.Load() {
		return false
	}
	if int64(g.Sent) < c.self.node.Load().Since.Add(-clockSkew).UnixMilli() {
		c.stats.gossipOld.Add(1)
		return false
	}
	h := c.gossip.of(g.Boot)
	h.at = c.clock.now()
	isNew, missed := h.mark(g.Seq)
	if !isNew {
		c.stats.gossipDuplicates.Add(1)
	}
	c.stats.gossipMissed.Add(uint64(missed)) // two's complement: it may fall
	return isNew
}

// of returns what has come from a boot. Of too many the one that was silent
// longest is forgotten.
func (g *gossip) of(boot uint64) *heard {
	if h := g.heard[boot]; h != nil {
		return h
	}
	if g.heard == nil {
		g.heard = map[uint64]*heard{}
	}
	if len(g.heard) >= gossipNodes {
		var oldest uint64
		for b, h := range g.heard {
			if o := g.heard[oldest]; o == nil || h.at < o.at {
				oldest = b
			}
		}
		delete(g.heard, oldest)
	}
	h := &heard{}
	g.heard[boot] = h
	return h
}

// deliverGossip gives a message of the lane to this node's consumers. One that
// has a window of such messages waiting misses it.
func (c *core) deliverGossip(g *wire.Gossip, header Header, remote bool) {
	r := c.dir.get(g.Address)
	if r == nil {
		return
	}
	codec := c.codecs.find(uint64(g.Codec), []byte(g.CodecName))
	if codec == codecUnknown {
		c.undecodable(g.Address, c.nameOf(g.Boot), describeCodec(uint64(g.Codec), []byte(g.CodecName)))
		return
	}
	deadline := c.clock.now() + int64(defaultTimeout)
	for cn := r.mine.Load(); cn != nil; cn = cn.sibling.Load() {
		if remote && cn.localOnly {
			continue
		}
		ms := make([]Message, 1)
		m := &ms[0]
		m.setBody(g.Body)
		m.id, m.deadline = g.Boot, deadline
		m.word = traits(kindPublish, codec, 0) | byGossip
		m.setHeader(header)
		m.charge = uint32(cost(len(g.Body), header))
		cn.putGossip(ms)
	}
}

func (c *Consumer) putGossip(ms []Message) {
	c.mu.Lock()
	if c.closed || c.box != nil && c.box.gossiped >= int64(c.window) {
		c.mu.Unlock()
		c.local.ring.lose(LossDropped, 1)
		return
	}
	ms[0].in = c.ownLocked()
	start := c.putLocked(ms)
	c.box.gossiped += int64(ms[0].charge)
	c.mu.Unlock()
	if start {
		c.start()
	}
}
