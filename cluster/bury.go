package cluster

import (
	"encoding/binary"
	"net"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/runrig-go/runrig/bus"
)

// buriedAs is the incarnation of which gossip is told that a boot is dead. It is
// more than a boot that has just died has used up by refuting, and one that lives
// after all refutes it once: it goes on from there, and is not told of again.
const buriedAs = 1 << 16

// bury tells gossip that a boot is dead, as its successor's HELLO proves, so that
// nobody spends probes on it: of a process that is restarted again and again
// there are soon so many that gossip takes half a minute to notice another
// failure. If gossip is too busy to listen it finds out by itself.
func (n *Node) bury(who bus.Peer) {
	packet := append([]byte(nil), n.port.envelope.label...)
	packet = appendDead(packet, gossipName(who.Name, who.Boot), gossipName(n.self.Name, n.self.Boot))
	select {
	case n.port.packets <- &memberlist.Packet{Buf: packet, From: net.UDPAddrFromAddrPort(n.port.bound), Timestamp: time.Now()}:
	default:
	}
}

// appendDead appends memberlist's message that a node is dead, as another one
// says: a map in MessagePack.
func appendDead(b []byte, node, from string) []byte {
	text := func(s string) {
		b = append(b, 0xda)
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	b = append(b, gossipDead, 0x83) // of three pairs
	text("Incarnation")
	b = append(b, 0xce)
	b = binary.BigEndian.AppendUint32(b, buriedAs)
	text("Node")
	text(node)
	text("From")
	text(from)
	return b
}
