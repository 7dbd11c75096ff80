package inspect

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/runrig-go/runrig/cluster"
)

// keptEvents is how many events an inspector remembers.
const keptEvents = 256

// An eventLog remembers what a node has told of members.
type eventLog struct {
	node string // its ID

	mu     sync.Mutex
	events []Event              // the last ones
	next   uint64               // number of the next one
	failed map[uint64]time.Time // when members failed, by their boot
	broke  map[uint64]time.Time // when their links broke
	counts Changes
	more   chan struct{} // closed when an event comes
	over   bool          // no more come
}

func newEventLog(node string) *eventLog {
	return &eventLog{node: node, failed: map[uint64]time.Time{}, broke: map[uint64]time.Time{}, counts: Changes{}, more: make(chan struct{})}
}

// follow notes events until there are no more.
func (l *eventLog) follow(events <-chan cluster.Event) {
	for e := range events {
		l.note(e)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	close(l.more)
}

func (l *eventLog) note(e cluster.Event) {
	kind, member, err := described(e)
	if kind == "" {
		return // of a later version
	}
	ev := Event{Time: time.Now(), Kind: kind, Node: l.node, Error: text(err)}
	if member.Boot != 0 {
		ev.Member = member.String()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noteFailureLocked(kind, member.Boot, ev.Time)
	l.counts[kind]++
	l.addLocked(ev)
}

// described says what an event is, and of whom.
func described(e cluster.Event) (kind string, m cluster.Member, err error) {
	switch e := e.(type) {
	case cluster.Joined:
		return KindJoined, e.Member, nil
	case cluster.Failed:
		return KindFailed, e.Member, nil
	case cluster.Left:
		return KindLeft, e.Member, nil
	case cluster.Forgotten:
		return KindForgotten, e.Member, nil
	case cluster.Linked:
		return KindLinked, e.Member, nil
	case cluster.Unlinked:
		return KindUnlinked, e.Member, e.Err
	case cluster.Refused:
		return KindRefused, m, e.Err
	case cluster.Conflict:
		return KindConflict, e.Member, e.Err
	case cluster.Unreached:
		return KindUnreached, m, e.Err
	}
	return "", m, nil
}

// noteFailureLocked notes when a member fails: when its link broke, of which gossip says
// some seconds later that it has failed.
func (l *eventLog) noteFailureLocked(kind string, boot uint64, now time.Time) {
	switch kind {
	case KindUnlinked:
		l.broke[boot] = now
	case KindFailed:
		l.failed[boot] = now
		if broke, ok := l.broke[boot]; ok {
			l.failed[boot] = broke
		}
	case KindLinked:
		delete(l.broke, boot)
	case KindJoined:
		delete(l.failed, boot)
	case KindForgotten, KindLeft:
		delete(l.failed, boot)
		delete(l.broke, boot)
	}
}

func (l *eventLog) addLocked(e Event) {
	if len(l.events) == keptEvents {
		copy(l.events, l.events[1:])
		l.events = l.events[:keptEvents-1]
	}
	l.events = append(l.events, e)
	l.next++
	close(l.more)
	l.more = make(chan struct{})
}

// since returns the events from a number on that are still remembered, and what tells
// of more.
func (l *eventLog) since(from uint64) (events []Event, next uint64, more <-chan struct{}, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(l.next-min(from, l.next), uint64(len(l.events)))
	events = append(events, l.events[uint64(len(l.events))-n:]...)
	return events, l.next, l.more, l.over
}

func (l *eventLog) failedAt(boot uint64) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed[boot]
}

func (l *eventLog) counted() Changes {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}

// Events calls f with the last events that are remembered, at most so many, and then
// with each that happens, until ctx ends, f returns false, or the node is down. Members
// and links are told of as this node learns of them, at once. Each second the cluster
// is asked what has changed at its verticles, and what was lost ([KindMessages]). An f
// that is slow misses the oldest.
func (i *Inspector) Events(ctx context.Context, last int, f func(Event) bool) {
	changes := make(chan []Event)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	asking.Go(func() { i.changes(ctx, changes) })
	i.events(ctx, last, changes, f)
}

// OwnEvents is [Inspector.Events] without asking the cluster: it tells of members and
// links alone. Who looks at the cluster anyway has the rest from [Compare].
func (i *Inspector) OwnEvents(ctx context.Context, last int, f func(Event) bool) {
	i.events(ctx, last, nil, f)
}

// events calls f with what the node itself is told of, and with the changes that come.
func (i *Inspector) events(ctx context.Context, last int, changes <-chan []Event, f func(Event) bool) {
	_, from, _, _ := i.log.since(0)
	from -= min(from, uint64(max(last, 0)))
	for {
		events, next, more, over := i.log.since(from)
		from = next
		if !each(events, f) || over {
			return
		}
		select {
		case <-more:
		case events := <-changes:
			if !each(events, f) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func each(events []Event, f func(Event) bool) bool {
	for _, e := range events {
		if !f(e) {
			return false
		}
	}
	return true
}

// askEvery is how often an inspector asks all nodes, while somebody listens.
const askEvery = time.Second

// changes sends what has changed in the cluster, until ctx ends.
func (i *Inspector) changes(ctx context.Context, to chan<- []Event) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	q := Query{Addresses: -1, Members: -1, Links: -1}
	before, err := i.Cluster(ctx, q)
	for err == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, err := i.Cluster(ctx, q)
		if err != nil {
			return
		}
		if events := Compare(&before, &now); len(events) > 0 {
			select {
			case to <- events:
			case <-ctx.Done():
				return
			}
		}
		before = now
	}
}

// Compare returns what has changed from one snapshot to the next, at the verticles of
// nodes of both, and what was lost there.
func Compare(before, now *Cluster) (events []Event) {
	was := before.byBoot()
	for k := range now.Nodes {
		n := &now.Nodes[k]
		if old := was[n.Self.Boot]; old != nil {
			events = append(events, compareVerticles(old, n)...)
			events = append(events, compareMessages(old, n)...)
		}
	}
	return events
}

func compareVerticles(old, n *Node) (events []Event) {
	was := map[string]*Verticle{}
	for k := range old.Verticles {
		was[old.Verticles[k].ID] = &old.Verticles[k]
	}
	for k := range n.Verticles {
		v := &n.Verticles[k]
		before := was[v.ID]
		delete(was, v.ID)
		if before != nil && before.State == v.State && before.Restarts == v.Restarts {
			continue
		}
		e := Event{Time: n.Time, Kind: KindVerticle, Node: n.Self.ID, Name: v.Name, State: v.State}
		if before == nil && v.Failure != "" || before != nil && v.Failed.After(before.Failed) {
			e.Error = v.Failure
		}
		events = append(events, e)
	}
	if n.LeftOut.Verticles > 0 || old.LeftOut.Verticles > 0 {
		return events // who is not told of need not have ended
	}
	for _, v := range was {
		if v.State != "failed" {
			events = append(events, Event{Time: n.Time, Kind: KindVerticle, Node: n.Self.ID, Name: v.Name, State: "stopped"})
		}
	}
	return events
}

func compareMessages(old, n *Node) (events []Event) {
	for _, c := range counters {
		was, is := *c.of(&old.Messages), *c.of(&n.Messages)
		if losses[c.name] && is > was {
			events = append(events, Event{Time: n.Time, Kind: KindMessages, Node: n.Self.ID, Name: c.name, Count: is - was})
		}
	}
	return events
}
