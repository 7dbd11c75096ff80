package bus

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Peer is another node, as its handshake told.
type Peer struct {
	Name  string            // as configured; not necessarily unique
	Boot  uint64            // random id of that run of the node's process
	Addr  string            // address and port that the node advertises
	Tags  map[string]string // read-only
	Since time.Time         // when the link came up
}

// String returns name and boot id, which together are unique.
func (p Peer) String() string { return fmt.Sprintf("%s-%016x", p.Name, p.Boot) }

// A Gossiper carries a small payload to all nodes of the cluster, perhaps late
// and perhaps not at all.
type Gossiper interface {
	// Gossip passes the payload on, which it may keep. It must not block. Its
	// errors match ErrTooLarge or ErrBusy where they mean that.
	Gossip(payload []byte) error
}

// An Attachment is a cluster's hold on a bus: by it the cluster tells the bus which
// nodes there are and hands it a connection to each. Programs call
// [EventBus.Attach] only if they bring a cluster of their own; others call
// cluster.Join. Its methods may be called concurrently.
type Attachment struct{ core *core }

// Attach makes the bus part of a cluster, in which self is this node. The
// gossiper carries the gossip lane; nil means that there is none. A bus can be
// attached once: the error of another call matches ErrClosed if the bus is
// closing.
func (eb *EventBus) Attach(self Peer, g Gossiper) (*Attachment, error) {
	return eb.core.attach(self, g)
}

// ServeLink speaks the link protocol with peer over conn until the link ends, and
// returns when all routes over it are gone. It owns conn, and closes it. The
// connection must be authenticated and ordered, and lead to the boot that peer
// names; at most one ServeLink may run for a boot.
//
// When the peer's whole set of routes is in, up is called once, unless it is
// nil; it must not block.
//
// ServeLink returns nil if the peer said goodbye, or that it leaves while this bus
// closed, too; it should then not be dialled again. Other errors say why the link broke. To break it, close conn. When ctx
// ends, the link takes no more messages, is read to its end for at most a
// second, and ends.
func (a *Attachment) ServeLink(ctx context.Context, peer Peer, conn net.Conn, up func()) error {
	return a.core.serve(ctx, peer, conn, up)
}

// Expect says that peer is alive and that a link to it is being set up. Until
// forget is called the texts of errors name it while it is not linked, and for
// the first two seconds a message without a consumer waits for its link.
func (a *Attachment) Expect(peer Peer) (forget func()) { return a.core.members.expect(peer) }

// Probe makes the link to that boot prove within a second that it is alive; it
// breaks otherwise. Without such a link Probe does nothing.
func (a *Attachment) Probe(boot uint64) { a.core.probe(boot) }

// ReceiveGossip takes a payload that came over the gossip lane, this node's own
// ones too. It does not block, and does not keep the payload.
func (a *Attachment) ReceiveGossip(payload []byte) { a.core.gossip.receive(payload) }

// Leaving returns a channel that is closed when the bus begins to close.
func (a *Attachment) Leaving() <-chan struct{} { return a.core.leave.begun }

// Open reports whether a new link could still be of use. It is false once the
// bus is closed, or is closing and has nothing left to place.
func (a *Attachment) Open() bool { return a.core.open() }
