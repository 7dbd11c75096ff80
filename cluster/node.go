package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/wire"
	"github.com/runrig-go/runrig/discovery"
)

// A Node is this process's part in a cluster. Its methods may be called
// concurrently.
type Node struct {
	eb         *bus.EventBus
	attachment *bus.Attachment
	log        *slog.Logger
	digest     *digest
	provider   discovery.Provider // nil: there is no discovery
	self       Member
	port       *port
	peers      *peers
	gossip     *serf.Serf
	lane       *lane
	roster     *roster
	hub        *hub
	payloads   chan []byte

	firstRound chan struct{} // closed when discovery was asked once, and who was found tried
	sayOnce    sync.Once     // closes firstRound
	eagerUntil atomic.Int64  // nanoseconds of Unix time: a joiner dials at once
	stopSeek   context.CancelFunc
	wakeSeek   chan struct{}
	wakeAsk    chan struct{}
	wg         sync.WaitGroup // goroutines that end before done closes
	done       chan struct{}

	conflicts    conflicts
	conflictLine sometimes
	reach        reach

	strangers sometimes
	counts    *counters

	closing  atomic.Bool // not a sync.Once: those who wait must not hold up virtual time
	closeErr error       // set before done closes

	judging sync.Mutex // held while the roster is changed and what follows is told, so that all is told in order

	mu       sync.Mutex
	state    State // StateLeaving and after; before that see State
	alone    bool  // discovery has told that nobody else is there
	company  bool  // some member was linked since the node was alone
	served   bool  // the node has been fit to serve
	told     State // the state that was logged last
	troubles map[string]error
	err      error
}

// Self returns this node as others see it.
func (n *Node) Self() Member { return n.self }

// EventBus returns the bus that the node has made part of the cluster.
func (n *Node) EventBus() *bus.EventBus { return n.eb }

// Info is how a node is set up.
type Info struct {
	Cluster                string // the cluster's name
	Secured                bool   // by a secret
	Bound                  string // the address and port where the node listens
	MinVersion, MaxVersion int    // of the protocol
}

// Info returns how the node is set up.
func (n *Node) Info() Info {
	own := n.peers.own
	return Info{
		Cluster: own.Cluster, Secured: n.port.tls != nil, Bound: n.port.bound.String(),
		MinVersion: int(own.MinVersion), MaxVersion: int(own.MaxVersion),
	}
}

// Members returns all members that are known, this node too, sorted by name and
// boot id. Those that failed or left are listed for a while.
func (n *Node) Members() []Member {
	all := append(n.roster.list(), n.self)
	slices.SortFunc(all, byName)
	return all
}

// Events returns a channel of what happens from now on, until ctx ends or the
// node is down; then it is closed. It begins with Joined for each other member
// that is alive, and Linked for those that are linked. A reader that is slow
// holds up nobody: it misses steps between, but never the last state of a
// member or link. Of refusals, conflicts and the like at most 64 wait.
func (n *Node) Events(ctx context.Context) <-chan Event {
	return n.hub.listen(ctx, func() (begin []Event) {
		for _, m := range n.roster.list() {
			if m.Status == StatusAlive {
				begin = append(begin, Joined{m})
			}
			if m.Linked() {
				begin = append(begin, Linked{m})
			}
		}
		return begin
	})
}

// Done returns a channel that is closed when the node is down: closed, or failed,
// in which case the bus goes on, alone.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns why the node is down: nil while it is not or if it was closed,
// else an error that matches [ErrEnded].
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// Stats returns the node's counters.
func (n *Node) Stats() Stats { return n.counts.load() }

// Close leaves the cluster: readiness ends, discovery is no longer asked and forgets
// the node (if it is a discovery.Registrar), the bus is closed, by which what is under way is handled or sent back to others,
// and gossip tells that this node leaves. It then ends all that the node
// started, closes a Config.Discovery that is an io.Closer, and returns. It is bounded by the bus's drain time-out and about
// three seconds; usually it takes less than one. Closing the bus closes the
// node too: a program that closes the bus first should wait for Done before it
// ends, or others take the node for failed. A handler must not wait for Close,
// which waits for the handler. Further calls wait for the first and return the
// same error.
func (n *Node) Close() error {
	n.end(nil)
	return n.closeErr
}

// end takes the node down, or waits until somebody has. cause is why, if it was
// not closed.
func (n *Node) end(cause error) {
	if n.closing.CompareAndSwap(false, true) {
		n.closeErr = n.leave(cause)
		close(n.done)
	}
	<-n.done
}

// leave takes the node down.
func (n *Node) leave(cause error) error {
	n.setState(StateLeaving, nil)
	n.stopSeek()
	n.peers.hush()
	n.port.ending.Store(true)
	var told, drained error
	var wg sync.WaitGroup
	if cause == nil {
		wg.Go(func() { told = n.gossip.Leave() })
		wg.Go(func() { drained = n.eb.Close() })
	}
	wg.Wait()
	n.peers.close()
	down := n.gossip.Shutdown()
	n.port.shutdown()
	n.wg.Wait()
	if cause != nil {
		n.setState(StateEnded, cause)
	} else {
		n.setState(StateLeft, nil)
	}
	n.digest.close()
	n.hub.close()
	if err := errors.Join(told, drained, down, n.closeDiscovery()); err != nil {
		return fmt.Errorf("cluster: close: %w", err)
	}
	return nil
}

// watch closes the node if its bus is closed or if gossip ends by itself. It
// ends with the node, which does not wait for it.
func (n *Node) watch() {
	select {
	case <-n.done:
	case <-n.attachment.Leaving():
		n.end(nil)
	case <-n.gossip.ShutdownCh():
		n.end(fmt.Errorf("%w: gossip shut itself down", ErrEnded))
	}
}

// seekNow makes the seeker look again at once.
func (n *Node) seekNow() {
	select {
	case n.wakeSeek <- struct{}{}:
	default:
	}
}

// eagerly makes the node dial at once whom it learns of in the next two seconds.
func (n *Node) eagerly() { n.eagerUntil.Store(time.Now().Add(linkPatience).UnixNano()) }

func (n *Node) eager() bool { return time.Now().UnixNano() < n.eagerUntil.Load() }

// payload takes what came over the gossip lane.
func (n *Node) payload(b []byte) {
	select {
	case n.payloads <- b:
	default:
		n.counts.payloadsDropped.Add(1)
	}
}

// deliver hands payloads of the gossip lane to the bus until the node closes.
func (n *Node) deliver(ctx context.Context) {
	for {
		select {
		case b := <-n.payloads:
			n.attachment.ReceiveGossip(b)
		case <-ctx.Done():
			return
		}
	}
}

// refused takes news of a refusal that a human should know of.
func (n *Node) refused(err *RefusedError) {
	n.counts.refusal(err, err.ByPeer)
	if held, ok := n.strangers.pass(); ok {
		n.log.Warn("node refused", "peer", err.Peer, "err", err, "more", held)
	}
	n.hub.publish(Refused{err})
}

// awaitLinks waits until all members that are alive are linked, for as long as
// links come up, and logs which members are missing. That is a warning if links
// have stopped coming up. If there is only no time left they may all be healthy, as
// when many nodes start at once on a busy machine.
func (n *Node) awaitLinks(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, linksMost)
	defer cancel()
	patience := time.NewTimer(linkPatience)
	defer patience.Stop()
	for most := 0; ; {
		changed := n.roster.wait()
		missing := n.missing()
		if len(missing) == 0 {
			return
		}
		if linked := n.roster.company().linked; linked > most {
			most = linked
			patience.Reset(linkPatience)
		}
		select {
		case <-changed:
		case <-patience.C:
			if n.roster.company().linked <= most {
				n.logMissing(slog.LevelWarn, missing)
				return
			}
		case <-ctx.Done():
			n.logMissing(slog.LevelInfo, missing)
			return
		case <-n.done:
			return
		}
	}
}

func (n *Node) logMissing(level slog.Level, names []string) {
	n.log.Log(context.Background(), level, "joined, but not yet linked with all members",
		"count", len(names), "peers", fmt.Sprint(names[:min(len(names), maxTold)]))
}

// missing names the members that are alive and not linked. It asks gossip
// itself, as the roster may be a moment behind.
func (n *Node) missing() (names []string) {
	for _, sm := range n.gossip.Members() {
		m, err := memberOf(sm)
		if err != nil || m.Status != StatusAlive || m.Boot == n.self.Boot || n.predecessor(m) {
			continue
		}
		if known, ok := n.roster.get(m.Boot); !ok || known.Status == StatusAlive && !known.Linked() {
			names = append(names, m.String()+" at "+m.Addr)
		}
	}
	return names
}

// greeting is what the node tells of itself in handshakes.
func greeting(s *settings, self bus.Peer) wire.Greeting {
	return wire.Greeting{
		Cluster:    s.cluster,
		Name:       self.Name,
		Boot:       self.Boot,
		Addr:       self.Addr,
		Tags:       self.Tags,
		MinVersion: minVersion,
		MaxVersion: maxVersion,
	}
}
