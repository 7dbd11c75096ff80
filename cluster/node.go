package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/wire"
)

// State is what a node is up to.
type State uint8

// The states of a node. StateAlone and StateReady may alternate; a readiness
// check says yes to both.
const (
	StateJoining State = iota // discovery has not answered yet, or told of others of whom none was reached
	StateAlone                // it runs, and nobody else is there
	StateReady                // it runs, and others are alive
	StateLeaving              // it is closing: messages are being drained
	StateLeft                 // it was closed
	StateFailed               // it ended by itself; Err says why
)

// String returns the state in lower case.
func (s State) String() string {
	names := [...]string{"joining", "alone", "ready", "leaving", "left", "failed"}
	if int(s) >= len(names) {
		return "state " + strconv.Itoa(int(s))
	}
	return names[s]
}

// A Node is this process's part in a cluster. Its methods may be called
// concurrently.
type Node struct {
	eb       *bus.EventBus
	links    *bus.Links
	log      *slog.Logger
	self     Member
	port     *port
	peers    *peers
	gossip   *serf.Serf
	lane     *lane
	roster   *roster
	hub      *hub
	payloads chan []byte

	firstRound chan struct{} // closed when discovery was asked once, and who was found tried
	sayOnce    sync.Once     // closes firstRound
	eagerUntil atomic.Int64  // nanoseconds of Unix time: a joiner dials at once
	stopSeek   context.CancelFunc
	wg         sync.WaitGroup // goroutines that end before done closes
	done       chan struct{}

	conflicts    conflicts // belongs to the goroutine that drains serf
	conflictLine sometimes

	strangers sometimes
	counts    *counters

	closing  atomic.Bool // not a sync.Once: those who wait must not hold up virtual time
	closeErr error       // set before done closes

	mu    sync.Mutex
	state State
	err   error
}

// Self returns this node as others see it.
func (n *Node) Self() Member { return n.self }

// Members returns all members that are known, this node too, sorted by name and
// boot id. Those that failed or left are listed for a while.
func (n *Node) Members() []Member {
	all := n.roster.list()
	for i := range all {
		all[i] = n.complete(all[i])
	}
	return all
}

// complete adds what gossip does not know: since when there is a link.
func (n *Node) complete(m Member) Member {
	if m.Boot == n.self.Boot {
		m.Since = n.self.Since
	} else {
		m.Since = n.peers.since(m.Boot)
	}
	return m
}

// Events returns a channel of what happens from now on, until ctx ends or the
// node is down; then it is closed. It begins with Joined for each other member
// that is alive, and Linked for those that are linked. A reader that is slow
// holds up nobody: it misses steps between, but never the last state of a
// member or link. Of refusals and conflicts at most 64 wait.
func (n *Node) Events(ctx context.Context) <-chan Event {
	return n.hub.listen(ctx, func() (begin []Event) {
		for _, m := range n.Members() {
			if m.Boot == n.self.Boot {
				continue
			}
			if m.Status == StatusAlive {
				begin = append(begin, Event{Type: Joined, Member: m})
			}
			if m.Linked() {
				begin = append(begin, Event{Type: Linked, Member: m})
			}
		}
		return begin
	})
}

// State returns what the node is up to.
func (n *Node) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state <= StateAlone && len(n.roster.living()) > 1 {
		return StateReady
	}
	return n.state
}

// Done returns a channel that is closed when the node is down: closed, or failed,
// in which case the bus goes on, alone.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns why the node is down: nil while it is not or if it was closed,
// else an error that matches [ErrFailed].
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// Stats returns the node's counters.
func (n *Node) Stats() Stats { return n.counts.load() }

// Close leaves the cluster: readiness ends, discovery is no longer asked, the
// bus is closed, by which what is under way is handled or sent back to others,
// and gossip tells that this node leaves. It then ends all that the node
// started, and returns. It is bounded by the bus's drain time-out and about
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
		n.setState(StateFailed, cause)
	} else {
		n.setState(StateLeft, nil)
	}
	n.hub.close()
	if err := errors.Join(told, drained, down); err != nil {
		return fmt.Errorf("cluster: close: %w", err)
	}
	return nil
}

func (n *Node) setState(s State, err error) {
	n.mu.Lock()
	n.state, n.err = s, err
	n.mu.Unlock()
	args := []any{"node", n.self.String(), "state", s.String()}
	if err != nil {
		args = append(args, "err", err)
	}
	n.log.Info("node changed state", args...)
}

// watch closes the node if its bus is closed or if gossip ends by itself. It
// ends with the node, which does not wait for it.
func (n *Node) watch() {
	select {
	case <-n.done:
	case <-n.links.Leaving():
		n.end(nil)
	case <-n.gossip.ShutdownCh():
		n.end(fmt.Errorf("%w: gossip shut itself down", ErrFailed))
	}
}

// roundDone notes that discovery was asked and who was found tried. settled says
// that nobody remains who should have been reached.
func (n *Node) roundDone(settled bool) {
	n.mu.Lock()
	switch {
	case settled && n.state == StateJoining:
		n.state = StateAlone
	case !settled && n.state == StateAlone:
		n.state = StateJoining
	}
	n.mu.Unlock()
	n.sayOnce.Do(func() { close(n.firstRound) })
}

// eagerly makes the node dial at once whom it learns of in the next two seconds.
func (n *Node) eagerly() { n.eagerUntil.Store(time.Now().Add(linkPatience).UnixNano()) }

func (n *Node) eager() bool { return time.Now().UnixNano() < n.eagerUntil.Load() }

// member takes a change from gossip. It does not block: it runs on the goroutine
// that drains serf.
func (n *Node) member(t serf.EventType, sm serf.Member) {
	m, err := memberOf(sm)
	if err != nil {
		n.log.Warn("gossip has a member that is not a node", "err", err)
		return
	}
	if m.Boot == n.self.Boot {
		return
	}
	if t == serf.EventMemberReap {
		n.roster.remove(m.Boot)
		n.conflicts.forget(m.Boot)
		n.peers.departed(m.Boot, false)
		n.hub.publish(Event{Type: Forgotten, Member: m})
		return
	}
	old, had := n.roster.set(m)
	switch {
	case n.predecessor(m): // there is nobody to dial
	case m.Status == StatusAlive:
		n.peers.alive(m.Peer)
	default:
		n.peers.departed(m.Boot, m.Status == StatusFailed)
	}
	if had && old.Status == m.Status {
		return
	}
	e := Event{Type: eventOf(m.Status), Member: n.complete(m)}
	logMember(n.log, e.Type, m)
	n.hub.publish(e)
	if had {
		n.checkAddress(m, old.Status)
	}
}

// predecessor reports whether a member lived at this node's own address: it is
// dead, though gossip may not have noticed yet.
func (n *Node) predecessor(m Member) bool { return m.Addr == n.self.Addr }

func eventOf(s Status) EventType {
	switch s {
	case StatusAlive:
		return Joined
	case StatusFailed:
		return Failed
	}
	return Left
}

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
			n.links.Receive(b)
		case <-ctx.Done():
			return
		}
	}
}

// linked and unlinked take news of links.
func (n *Node) linked(who bus.Peer) {
	n.roster.touch()
	n.log.Info("link is up", "peer", who.String(), "address", who.Addr)
	n.publishLink(Linked, who)
}

func (n *Node) unlinked(who bus.Peer) {
	n.roster.touch()
	n.publishLink(Unlinked, who)
}

func (n *Node) publishLink(t EventType, who bus.Peer) {
	m, known := n.roster.get(who.Boot)
	if !known {
		m.Status = StatusAlive
	}
	m.Peer = who
	n.hub.publish(Event{Type: t, Member: m})
}

// refused takes news of a refusal that a human should know of.
func (n *Node) refused(err *RefusedError) {
	n.counts.refusal(err, err.ByPeer)
	if held, ok := n.strangers.pass(); ok {
		n.log.Warn("node refused", "peer", err.Peer, "err", err, "more", held)
	}
	n.hub.publish(Event{Type: Refused, Err: err})
}

// awaitLinks waits until all members that are alive are linked, for at most d,
// and logs who is missing.
func (n *Node) awaitLinks(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		changed := n.roster.wait()
		missing := n.missing()
		if len(missing) == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			n.log.Warn("joined, but not yet linked with all members", "peers", fmt.Sprint(missing))
			return
		case <-n.done:
			return
		}
	}
}

// missing names the members that are alive and not linked. It asks gossip
// itself, as the roster may be a moment behind.
func (n *Node) missing() (names []string) {
	for _, sm := range n.gossip.Members() {
		m, err := memberOf(sm)
		if err == nil && m.Status == StatusAlive && !n.predecessor(m) && n.peers.since(m.Boot).IsZero() {
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
