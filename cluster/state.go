package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
)

// State is what a node is up to, as seen from itself: whom it is with. Whether it
// is fit to serve is another question, see [Node.Serving].
type State uint8

// The states of a node. Until it closes, any of the first four may follow any
// other.
const (
	StateJoining  State = iota // it is linked with nobody, though others may be there: none was reached, or discovery has not answered
	StateAlone                 // it runs, and nobody else is there
	StateReady                 // it runs, and is linked with the others
	StateDegraded              // as ready, but a member that is alive has not been linked for five seconds, in which no other was for the first time; Trouble says which and why
	StateLeaving               // it is closing: messages are being drained
	StateLeft                  // it was closed
	StateEnded                 // it ended by itself; Err says why
)

// String returns the state in lower case.
func (s State) String() string {
	names := [...]string{"joining", "alone", "ready", "degraded", "leaving", "left", "ended"}
	if int(s) >= len(names) {
		return "state " + strconv.Itoa(int(s))
	}
	return names[s]
}

// State returns what the node is up to. It follows the links: a node that loses
// the last one says so a second later, whatever gossip still believes.
func (n *Node) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stateLocked(n.roster.company())
}

// stateLocked derives the state. The caller holds mu.
func (n *Node) stateLocked(c company) State {
	switch {
	case n.state >= StateLeaving:
		return n.state
	case c.linked > 0 && c.missed > 0:
		return StateDegraded
	case c.linked > 0, c.fresh > 0:
		return StateReady
	case n.alone && c.missed == 0: // who has come a moment ago is being linked
		return StateAlone
	}
	return StateJoining
}

// Serving reports whether this node is fit to serve, which is what a readiness
// check should ask. It is true from when the node has found others or that there
// are none, until it closes. It stays true when others fail, links break or
// discovery does: the node serves all the same, and might be the last that does.
// What is wrong meanwhile, [Node.State] and [Node.Trouble] say.
func (n *Node) Serving() bool {
	state := n.State()
	n.mu.Lock()
	defer n.mu.Unlock()
	return state < StateLeaving && (n.served || state != StateJoining)
}

// What may be wrong with a node, each with at most one error at a time.
const (
	troubleDiscovery = "discovery" // it could not be asked
	troubleSeek      = "seek"      // nobody was reached

	troubleRegistration = "registration" // this node could not be registered
)

// maxTold bounds the members or addresses that a text names.
const maxTold = 8

// Trouble returns what is wrong, for a human, and nil if nothing is. It has
// nothing to do with readiness, see [Node.Serving]: why no other node was
// reached, which members that are alive are not linked and why, that discovery
// fails, or that others do not reach this node. What it says is in the log, too,
// once when it begins.
func (n *Node) Trouble() error {
	n.mu.Lock()
	known := maps.Clone(n.troubles)
	state := n.stateLocked(n.roster.company())
	n.mu.Unlock()
	if state >= StateLeaving {
		return nil
	}
	var errs []error
	missed := n.roster.missed()
	if state == StateJoining {
		errs = append(errs, errors.New("linked with no other node"))
		missed = append(missed, n.roster.failed()...)
	} else {
		delete(known, troubleSeek)
	}
	for _, kind := range slices.Sorted(maps.Keys(known)) {
		errs = append(errs, known[kind])
	}
	return errors.Join(append(errs, unlinked(missed), n.reach.err())...)
}

// unlinked names members that are not linked, and why.
func unlinked(members []Member) error {
	var errs []error
	for _, m := range members {
		why := m.Err
		if why == nil {
			why = errors.New("no dial has failed, none has come")
		}
		errs = append(errs, fmt.Errorf("%v at %s, %v, is not linked: %w", m, m.Addr, m.Status, why))
	}
	return some(errs)
}

// some joins errors, of which there may be very many.
func some(errs []error) error {
	if n := len(errs) - maxTold; n > 0 {
		errs = append(errs[:maxTold:maxTold], fmt.Errorf("and %d more", n))
	}
	return errors.Join(errs...)
}

// trouble notes what is wrong, or that it is over.
func (n *Node) trouble(kind string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		delete(n.troubles, kind)
	} else {
		n.troubles[kind] = err
	}
}

// setState takes the node to one of the states from which there is no way back.
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

// conclude draws the conclusions from the roster and from what discovery told,
// and says so if the state is another one. The caller holds judging.
func (n *Node) conclude() {
	n.mu.Lock()
	c := n.roster.company()
	switch {
	case c.linked > 0:
		n.company, n.alone = true, false
	case n.company && c.alive+c.failed+c.fresh == 0: // the last one has left
		n.company, n.alone = false, true
	}
	before, served := n.told, n.served
	n.told = n.stateLocked(c)
	n.served = served || n.told != StateJoining
	state := n.told
	n.mu.Unlock()
	if state == before || state >= StateLeaving {
		return
	}
	level, args := slog.LevelInfo, []any{"state", state.String(), "before", before.String()}
	if state == StateDegraded || state == StateJoining && served {
		level, args = slog.LevelWarn, append(args, "err", n.Trouble())
	}
	n.log.Log(context.Background(), level, "node changed state", args...)
}

// An outlook is what a round of discovery says about whether others are there.
type outlook uint8

const (
	unknown outlook = iota // it could not be asked
	vacant                 // nobody else is there
	missed                 // others should be there, and were not reached
	reached                // others are there
)

// roundDone notes that discovery was asked and who was found tried.
func (n *Node) roundDone(o outlook) {
	n.mu.Lock()
	switch o {
	case vacant:
		n.alone = true
	case missed:
		n.alone = false
	}
	n.mu.Unlock()
	n.update(nil)
	n.sayOnce.Do(func() { close(n.firstRound) })
}
