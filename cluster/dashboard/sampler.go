package dashboard

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// How often the cluster is asked.
const (
	askEvery  = time.Second
	askAtOnce = 200 * time.Millisecond // after something has happened, and not more often than that
	askWithin = 3 * time.Second        // a node that does not answer at all is lost
)

// A sampler asks the cluster for all tabs together, while there are any.
type sampler struct {
	from source

	mu   sync.Mutex
	tabs map[*tab]bool
	look *look // nil while there is no tab
}

func newSampler(from source) *sampler {
	return &sampler{from: from, tabs: map[*tab]bool{}}
}

// join adds a tab, if there is a place for it, and begins to look for the first one.
func (s *sampler) join(t *tab) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tabs) >= MaxTabs {
		return false
	}
	s.tabs[t] = true
	if s.look == nil {
		s.look = newLook(s)
		go s.look.run() // leave of the last tab ends it, and waits for it
	}
	s.look.welcome(t)
	return true
}

// leave removes a tab, and ends looking with the last one.
func (s *sampler) leave(t *tab) {
	s.mu.Lock()
	delete(s.tabs, t)
	l := s.look
	if len(s.tabs) > 0 {
		l = nil
	} else {
		s.look = nil
	}
	s.mu.Unlock()
	if l != nil {
		l.cancel()
		<-l.done
	}
}

// seen returns the last sample, nil while there is none.
func (s *sampler) seen() *view {
	s.mu.Lock()
	l := s.look
	s.mu.Unlock()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view
}

// A look is a time in which somebody looks.
type look struct {
	of     *sampler
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	poke   chan struct{} // something has happened

	// Of run's goroutine.
	base, older *sample // that rates are reckoned from
	last        *inspect.Cluster
	slow        map[string]time.Time // links that are slow, since when
	asker       string

	mu     sync.Mutex
	view   *view           // of the last sample
	frame  []byte          // of that
	lost   []byte          // why there is no newer one; nil: there is
	events []inspect.Event // the last ones
}

func newLook(s *sampler) *look {
	l := &look{of: s, done: make(chan struct{}), poke: make(chan struct{}, 1), slow: map[string]time.Time{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// run looks until it is canceled.
func (l *look) run() {
	defer close(l.done)
	defer l.of.from.rest()
	var events sync.WaitGroup
	defer events.Wait()
	for l.ctx.Err() == nil {
		began := time.Now()
		asker := l.ask()
		if asker != l.asker { // another node tells, or none
			events.Wait()
			if l.asker = asker; asker != "" {
				events.Go(l.follow)
			}
		}
		l.rest(time.Since(began))
	}
}

// rest waits for the next sample, which is as far away as the last one took, and a
// second at least, unless something happens.
func (l *look) rest(took time.Duration) {
	next := time.NewTimer(max(askEvery-took, took))
	defer next.Stop()
	soon := time.NewTimer(askAtOnce)
	defer soon.Stop()
	select {
	case <-soon.C:
	case <-l.ctx.Done():
		return
	}
	select {
	case <-next.C:
	case <-l.poke:
	case <-l.ctx.Done():
	}
}

// maxAddresses is how many addresses of all nodes together are asked for.
const maxAddresses = 50_000

// maxBuckets is how many addresses, of all nodes, tell each duration of late; of more,
// each node tells those since it started.
const maxBuckets = 5000

// query is what the cluster is asked, by how large it was when it was asked last.
func (l *look) query() inspect.Query {
	nodes, addresses := 1, maxBuckets+1
	if l.last != nil {
		nodes, addresses = max(1, len(l.last.Nodes)), 0
		for i := range l.last.Nodes {
			addresses += len(l.last.Nodes[i].Addresses)
		}
	}
	return inspect.Query{Addresses: min(10_000, max(200, maxAddresses/nodes)), Sort: inspect.SortPain, Buckets: addresses <= maxBuckets}
}

// ask takes a sample, shows it to all tabs, and returns who has told.
func (l *look) ask() (asker string) {
	ctx, cancel := context.WithTimeout(l.ctx, askWithin)
	defer cancel()
	c, err := l.of.from.cluster(ctx, l.query())
	if l.ctx.Err() != nil {
		return l.asker
	}
	if err != nil {
		l.tellLost(err)
		return ""
	}
	l.show(&c)
	return c.Asker
}

// show makes a view of a sample, and sends it to all tabs.
func (l *look) show(c *inspect.Cluster) {
	now := newSample(c)
	base := l.base
	if base != nil && c.Time.Sub(base.Time) < askEvery/2 { // too near to tell rates
		base = l.older
	}
	v := newView(base, now, l.last, l.slow)
	if l.last != nil {
		l.note(inspect.Compare(l.last, c))
	}
	l.last = c
	if l.base == nil || c.Time.Sub(l.base.Time) >= askEvery*9/10 {
		l.base, l.older = now, l.base
	}
	data, err := json.Marshal(&v.frame)
	if err != nil {
		l.tellLost(err)
		return
	}
	frame := message("frame", data)
	l.mu.Lock()
	l.view, l.frame, l.lost = v, frame, nil
	l.mu.Unlock()
	l.each(func(t *tab) { t.show(frame) })
}

// tellLost tells all tabs that no node answers, and why.
func (l *look) tellLost(err error) {
	data, _ := json.Marshal(err.Error())
	lost := message("lost", data)
	l.mu.Lock()
	l.lost = lost
	l.mu.Unlock()
	l.each(func(t *tab) { t.show(lost) })
}

// keptEvents is how many events a tab that comes is told of.
const keptEvents = 256

// follow tells of events, until the node that does is gone.
func (l *look) follow() {
	l.mu.Lock()
	l.events = nil // that node remembers its own
	l.mu.Unlock()
	l.each((*tab).forget)
	l.of.from.events(l.ctx, keptEvents, func(e inspect.Event) bool {
		l.note([]inspect.Event{e})
		select {
		case l.poke <- struct{}{}:
		default:
		}
		return true
	})
}

// note remembers events, and sends them to all tabs.
func (l *look) note(events []inspect.Event) {
	if len(events) == 0 {
		return
	}
	l.of.mu.Lock() // so that a tab that comes is told once
	defer l.of.mu.Unlock()
	l.mu.Lock()
	l.events = lastOf(append(l.events[:len(l.events):len(l.events)], events...))
	l.mu.Unlock()
	for t := range l.of.tabs {
		t.tell(events)
	}
}

func lastOf(events []inspect.Event) []inspect.Event {
	if over := len(events) - keptEvents; over > 0 {
		return append([]inspect.Event{}, events[over:]...)
	}
	return events
}

func (l *look) each(f func(*tab)) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	for t := range l.of.tabs {
		f(t)
	}
}

// welcome gives a tab what there is. The caller holds the lock of the sampler.
func (l *look) welcome(t *tab) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frame != nil {
		t.show(l.frame)
	}
	if l.lost != nil {
		t.show(l.lost)
	}
	t.tell(l.events)
}
