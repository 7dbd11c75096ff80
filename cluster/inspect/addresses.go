package inspect

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// costShare is which part of the time may go to looking up addresses, at most.
const costShare = 20

// maxExtracts is how many an addressBook keeps.
const maxExtracts = 16

// An addressBook has the addresses of a moment, for all who ask the same.
type addressBook struct {
	mu       sync.Mutex
	extracts map[extractOf]*extract
}

// extractOf is what a Query asks of the addresses.
type extractOf struct {
	most        int
	sort, match string
	buckets     bool
}

// An extract is the addresses that a Query asks for. It is not changed any more.
type extract struct {
	at   time.Time
	took time.Duration

	addresses []Address
	left      int
	rest      Messages // of those that are left out
	all       *Durations
}

// read returns the addresses of a node, of now or of a moment ago.
func (b *addressBook) read(eb *bus.EventBus, q Query) *extract {
	of := extractOf{limit(q.Addresses, 200), q.Sort, q.Match, q.Buckets}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.extracts[of]; e != nil && time.Since(e.at) < costShare*e.took {
		return e
	}
	if b.extracts == nil || len(b.extracts) >= maxExtracts {
		b.extracts = map[extractOf]*extract{}
	}
	e := newExtract(eb, q, of.most)
	b.extracts[of] = e
	return e
}

func newExtract(eb *bus.EventBus, q Query, most int) *extract {
	began := time.Now()
	e := &extract{addresses: []Address{}}
	matches := 0
	top, rest := eb.TopAddresses(most, func(a *bus.AddressStats) uint64 {
		rank := q.rank(a)
		if rank > 0 {
			matches++
		}
		return rank
	})
	e.rest = messagesOf(&rest.Stats)
	for k := range top {
		if q.rank(&top[k]) > 0 {
			e.addresses = append(e.addresses, addressOf(eb, &top[k], q.Buckets))
		} else {
			e.rest.Add(messagesOf(&top[k].Stats))
		}
	}
	slices.SortFunc(e.addresses, func(a, b Address) int { return strings.Compare(a.Address, b.Address) })
	e.left = matches - len(e.addresses)
	e.all = durationsOf(eb.Durations(""), q.Buckets)
	e.at = time.Now()
	e.took = e.at.Sub(began)
	return e
}

// tell writes the addresses into a snapshot.
func (e *extract) tell(n *Node) {
	n.Addresses, n.LeftOut.Addresses, n.Durations = slices.Clone(e.addresses), e.left, e.all
	if e.rest != (Messages{}) {
		n.LeftOut.Rest = &e.rest
	}
}

func addressOf(eb *bus.EventBus, s *bus.AddressStats, buckets bool) Address {
	return Address{
		Address: s.Address, Consumers: s.Consumers, Local: s.Local, Hearing: s.PublishedOnly, Paused: s.Paused, Waiting: s.Waiting,
		Unsettled: s.Unsettled, Queued: s.Queued, Running: s.Running, Messages: messagesOf(&s.Stats),
		Durations: durationsOf(eb.Durations(s.Address), buckets),
	}
}

// durationsOf returns nil if there are none.
func durationsOf(d bus.Durations, buckets bool) *Durations {
	all := Durations{spreadOf(&d.Request, buckets), spreadOf(&d.Handling, buckets), spreadOf(&d.Stall, buckets)}
	if all == (Durations{}) {
		return nil
	}
	return &all
}

func spreadOf(h *bus.Histogram, buckets bool) *Spread {
	if h.Sum == 0 && h.Count() == 0 {
		return nil
	}
	s := Spread{Count: h.Count(), Sum: h.Sum.Seconds(), P50: h.Quantile(0.5).Seconds(), P99: h.Quantile(0.99).Seconds()}
	if buckets {
		last := len(h.Buckets)
		for h.Buckets[last-1] == 0 {
			last--
		}
		s.Buckets = h.Buckets[:last:last]
	}
	return &s
}

// Consumers returns how many consumers of an address each node has, as this one knows them,
// in order of the nodes; those that have none are absent.
func (i *Inspector) Consumers(address string) []Consumers {
	all := []Consumers{}
	for _, n := range i.eb.Consumers(address) {
		all = append(all, Consumers{n.Node, n.Consumers, n.PublishedOnly})
	}
	return all
}

func routesOf(d bus.RoutesDigest) *Routes {
	return &Routes{Count: d.Count, Digest: fmt.Sprintf("%016x", d.Sum)}
}
