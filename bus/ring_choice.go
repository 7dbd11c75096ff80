package bus

import (
	"maps"
	"slices"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// choice is what a sender asks of the consumer that gets its message: which may,
// and which it prefers. The zero choice is any, in turn.
//
// It is the sender's own, but a send brings it along, and so does its bounce. That of
// a request is kept by its call, and only its key goes along.
type choice uint64

// The low bits of a choice; above them is the hash of a key, or which tag.
const (
	localOnly  choice = 1 << iota // none on another node
	localFirst                    // rather this node's
	sameTag                       // rather those whose tag has this node's value
	byKey                         // only the one that has the key
	toOne                         // only outgoing.only

	choiceBits = 8 // never to be changed: other nodes must find the same owner of a key
)

const (
	ranked = localFirst | sameTag // some are preferred to others
	fixed  = byKey | toOne        // one may get it, and no other
)

// choice returns what the options of a call ask for.
func (s *self) choice(o *callOptions) (ch choice) {
	if o.localOnly {
		ch |= localOnly
	}
	if o.localFirst {
		ch |= localFirst
	}
	if tags := s.tags.Load(); o.sameTag != nil && tags != nil {
		if i, ok := slices.BinarySearch(*tags, *o.sameTag); ok {
			ch |= sameTag | choice(i)<<choiceBits
		}
	}
	if o.byKey != nil {
		ch |= byKey | choice(hashKey(*o.byKey))<<choiceBits
	}
	return ch
}

// choose sets the choice of a message whose kind is known, and what goes along of it: all
// with a send, the key with a request.
func (o *outgoing) choose(ch choice) {
	o.choice = ch
	switch o.head.Kind() {
	case kindSend:
		o.head[frame.FChoice] = uint64(ch)
	case kindRequest:
		o.head[frame.FChoice] = ch.key()
	}
}

// fits reports whether the message may go to rt at all. A request does not go
// to a consumer whose turn its sender holds.
func (o *outgoing) fits(rt *route) bool {
	if o.choice&localOnly != 0 && rt.link() != nil {
		return false
	}
	return o.call == nil || rt.link() != nil || !o.turn.blocks(rt.consumer().holds())
}

// blocks reports whether the consumer of rt cannot handle anything before o's sender
// goes on, who holds its turn.
func (o *outgoing) blocks(rt *route) bool { return o.turn.blocks(rt.consumer().holds()) }

// picky reports whether fits can say no, or one route may take it only.
func (o *outgoing) picky() bool {
	return o.choice&(localOnly|fixed) != 0 || o.call != nil && o.turn != (turn{})
}

// tiers is how many steps of preference there are.
func (ch choice) tiers() int {
	if ch&ranked == 0 {
		return 1
	}
	return 3
}

// in reports whether the message may go to rt, and would like it as much as that
// tier says: 0 is most.
func (o *outgoing) in(tier int, rt *route) bool {
	return o.fits(rt) && (o.choice&ranked == 0 || o.tier(rt.link()) == tier)
}

// tier returns that of the routes to a node.
func (o *outgoing) tier(l *link) int {
	switch {
	case o.choice&localFirst != 0 && l == nil:
		return 0
	case o.choice&sameTag != 0 && l.shares(int(o.choice>>choiceBits)):
		return 1
	}
	return 2
}

// shares reports whether the link's node, which is this one if there is none, has
// this node's value of a tag.
func (l *link) shares(tag int) bool {
	return l == nil || tag < len(l.shared) && l.shared[tag]
}

// among returns routes that include all of a tier, and at which of them to begin: with
// the route of the tier whose turn it is when n turns have been taken. So the routes of a
// tier take turns among themselves, however many routes of other tiers are between them.
func (o *outgoing) among(to reach, tier int, n uint32) (reach, uint32) {
	switch {
	case to.one != nil:
		return to, 0
	case to.all.many == nil:
		return to, o.first(to.all.few, tier, n)
	}
	return reach{all: to.all.among(func(l *link) bool {
		return (o.choice&localOnly == 0 || l == nil) && (o.choice&ranked == 0 || o.tier(l) == tier)
	})}, n
}

// first returns the index of the route whose turn it is when those of a tier have taken n
// turns.
func (o *outgoing) first(to []*route, tier int, n uint32) uint32 {
	members := uint32(0)
	for _, rt := range to {
		if o.in(tier, rt) {
			members++
		}
	}
	if members == 0 {
		return 0
	}
	n %= members
	for i, rt := range to {
		if !o.in(tier, rt) {
			continue
		}
		if n == 0 {
			return uint32(i)
		}
		n--
	}
	return 0
}

// tagsOf returns the names of a node's tags, in order.
func tagsOf(p Peer) []string { return slices.Sorted(maps.Keys(p.Tags)) }

// sharedTags says of which of this node's tags the peer has the same value.
func (s *self) sharedTags(peer Peer) (shared []bool) {
	tags := s.tags.Load()
	if tags == nil {
		return nil
	}
	own := s.node.Load().Tags
	for _, tag := range *tags {
		value, ok := peer.Tags[tag]
		shared = append(shared, ok && value == own[tag])
	}
	return shared
}

// hashKey returns the hash of a key, which is the same on all nodes.
func hashKey(key string) uint64 { return hash(key) >> choiceBits }

// hash returns the hash of a text, which is the same on all nodes.
func hash(s string) uint64 {
	h := uint64(0xcbf29ce484222325) // FNV-1a
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64: each bit of n changes about half of the
// result's.
func mix(n uint64) uint64 {
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

func (r *ring) aimAtOne(o *outgoing) (to reach, held *route) {
	if o.choice&byKey != 0 && r.keyed.Load()&keySent == 0 {
		r.keyed.Or(keySent) // before the routes are loaded: see dropRoutesOf
	}
	return r.seat(o, r.routes.Load())
}

// seat is aim for a message that may go to one route only, in a given set of routes.
func (r *ring) seat(o *outgoing, s *routeSet) (to reach, held *route) {
	if o.choice&toOne == 0 {
		if held := r.heldBy(o.choice, s); held != nil {
			return reach{}, held
		}
		return reach{one: r.self.owner(o.choice, s)}, nil
	}
	if o.only.gone() {
		return reach{}, nil
	}
	return reach{one: o.onlyRoute()}, nil
}

// chosen gives a message that was sent back its choice again: that of its call,
// or what it brought along.
func (o *outgoing) chosen(brought uint64) {
	if o.call != nil {
		o.choose(o.call.choice)
		return
	}
	o.choose(choice(brought) &^ toOne)
}
