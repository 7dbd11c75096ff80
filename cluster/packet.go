package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

const (
	// packetVersion is the form of sealed packets. It is none of memberlist's forms,
	// 0 and 1, and no type of its messages: a node without a secret refuses it.
	packetVersion = 0x41

	sealOverhead = 1 + xaesOverhead // with the version

	// maxPacket bounds what is taken for a packet: no node sends more than
	// packetSize, and what memberlist leaves out of its reckoning.
	maxPacket = packetSize + 2 + 5 // a length, a checksum
)

// Why a packet is dropped.
var (
	errPacket       = errors.New("not a packet of a node")
	errPacketLabel  = fmt.Errorf("%w: it is of another cluster, or of none", errPacket)
	errPacketSealed = fmt.Errorf("%w: it is not sealed with an accepted secret", errPacket)
	errPacketSize   = fmt.Errorf("%w: it is larger than %d bytes", errPacket, maxPacket)
)

// An envelope is the form of packets on the wire: memberlist's label, which is the
// cluster's name, and then with a secret
//
//	version, nonce, sealed message, tag    XAES-256-GCM; label and version are authenticated
//
// and else the message. memberlist sees what has been opened and checked, and
// nothing else: it is made for packets of friends.
type envelope struct {
	label  []byte
	events *eventGate
	keys   []*xaes // the current secret's first; none: plain text
}

func newEnvelope(cluster string, all []keys) (*envelope, error) {
	e := &envelope{label: append([]byte{gossipLabel, byte(len(cluster))}, cluster...), events: newEventGate()}
	for _, k := range all {
		x, err := newXAES(k.gossip)
		if err != nil {
			return nil, err
		}
		e.keys = append(e.keys, x)
	}
	return e, nil
}

// overhead is what an envelope adds to memberlist's packets, in bytes.
func (e *envelope) overhead() int {
	if len(e.keys) == 0 {
		return 0
	}
	return sealOverhead
}

// seal returns the packet for what memberlist sends, which has the label.
func (e *envelope) seal(labeled []byte) []byte {
	if len(e.keys) == 0 {
		return labeled
	}
	head := len(e.label) + 1
	packet := make([]byte, head, len(labeled)+sealOverhead)
	copy(packet, e.label)
	packet[head-1] = packetVersion
	return e.keys[0].seal(packet, labeled[len(e.label):], packet[:head])
}

// open returns what memberlist is to see of a packet, in memory of its own: label
// and message, which has been checked.
func (e *envelope) open(packet []byte) ([]byte, error) {
	if len(packet) > maxPacket {
		return nil, errPacketSize
	}
	message, ok := bytes.CutPrefix(packet, e.label)
	if !ok {
		return nil, errPacketLabel
	}
	labeled := append(make([]byte, 0, len(packet)), e.label...)
	if len(e.keys) == 0 {
		labeled = append(labeled, message...)
	} else if labeled, ok = e.unseal(labeled, message, packet[:len(packet)-len(message)+min(1, len(message))]); !ok {
		return nil, errPacketSealed
	}
	return labeled, checkMessages(labeled[len(e.label):], e.events)
}

// unseal appends to labeled what is sealed with one of the keys. head is what is
// authenticated besides: label and version.
func (e *envelope) unseal(labeled, sealed, head []byte) ([]byte, bool) {
	if len(sealed) < sealOverhead || sealed[0] != packetVersion {
		return nil, false
	}
	for _, k := range e.keys {
		if opened, err := k.open(labeled, sealed[1:], head); err == nil {
			return opened, true
		}
	}
	return nil, false
}

// memberlist's types of messages.
const (
	gossipPing         = 0
	gossipIndirectPing = 1
	gossipAck          = 2
	gossipSuspect      = 3
	gossipAlive        = 4
	gossipDead         = 5
	gossipPushPull     = 6 // on streams only, as are the two at the end
	gossipCompound     = 7
	gossipUser         = 8
	gossipNack         = 11
	gossipChecksum     = 12
	gossipError        = 13
)

// packetTypes are those that a node sends, alone or several in one. Nodes do not
// compress.
var packetTypes = []byte{gossipPing, gossipIndirectPing, gossipAck, gossipSuspect, gossipAlive, gossipDead, gossipUser, gossipNack}

// serfTypes are serf's messages that a node sends in those of gossipUser: of
// members that leave and join, and events. Queries, by which keys can be listed
// and changed, are none.
var serfTypes = []byte{serfLeave, serfJoin, serfEvent}

const (
	serfLeave = 0
	serfJoin  = 1
	serfState = 2 // on streams only
	serfEvent = 3
)

// checkMessages refuses what no node sends: other types of messages, messages in
// messages in messages, and lengths that are lies. An event too many it makes one that
// serf ignores.
func checkMessages(b []byte, gate *eventGate) error {
	if len(b) > 0 && b[0] == gossipChecksum {
		if len(b) < 5 || crc32.ChecksumIEEE(b[5:]) != binary.BigEndian.Uint32(b[1:5]) {
			return fmt.Errorf("%w: its checksum is wrong", errPacket)
		}
		sum := b[1:5]
		b = b[5:]
		defer func() { binary.BigEndian.PutUint32(sum, crc32.ChecksumIEEE(b)) }() // of what may have been changed
	}
	if len(b) > 1 && b[0] == gossipCompound {
		return checkCompound(int(b[1]), b[2:], gate)
	}
	return checkMessage(b, gate)
}

// checkCompound checks n messages, before which are their lengths.
func checkCompound(n int, b []byte, gate *eventGate) error {
	if len(b) < 2*n {
		return fmt.Errorf("%w: %d messages in %d bytes", errPacket, n, len(b))
	}
	lengths, b := b[:2*n], b[2*n:]
	for i := range n {
		size := int(binary.BigEndian.Uint16(lengths[2*i:]))
		if size > len(b) {
			return fmt.Errorf("%w: a message of %d bytes in %d", errPacket, size, len(b))
		}
		if err := checkMessage(b[:size], gate); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

func checkMessage(b []byte, gate *eventGate) error {
	switch {
	case len(b) < 2:
		return fmt.Errorf("%w: a message of %d bytes", errPacket, len(b))
	case !slices.Contains(packetTypes, b[0]):
		return fmt.Errorf("%w: a message of type %d", errPacket, b[0])
	case b[0] == gossipUser && !slices.Contains(serfTypes, b[1]):
		return fmt.Errorf("%w: a message to serf of type %d", errPacket, b[1])
	case b[0] == gossipUser && b[1] == serfEvent:
		if err := gate.screen(b[1:]); err != nil {
			return fmt.Errorf("%w: an event: %w", errPacket, err)
		}
	}
	return nil
}
