package clusterprom

import (
	"cmp"
	"slices"
	"strings"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// other is the address of all that have no series of their own.
const other = "other"

// A shelf has the addresses with series of their own. What is on it stays while the bus
// knows it: a counter must not go back, as that of a busiest few would.
type shelf struct {
	most   int
	listed map[string]bool
	moved  inspect.Messages // what addresses had counted as other before they got a place
	over   int              // addresses without one
	before bool             // there was a sort before
}

// sort returns the addresses to be shown, those on the shelf and the sum of the rest, and
// how many have no place.
func (s *shelf) sort(n *inspect.Node) (shown []inspect.Address, over int) {
	s.forget(n.Addresses)
	s.fill(n.Addresses)
	rest := inspect.Address{Address: other}
	for _, a := range n.Addresses {
		if s.listed[a.Address] {
			shown = append(shown, a)
			continue
		}
		rest.Consumers += a.Consumers
		rest.Local += a.Local
		rest.Waiting += a.Waiting
		rest.Unsettled += a.Unsettled
		rest.Queued += a.Queued
		rest.Running += a.Running
		rest.Messages.Add(a.Messages)
	}
	if n.LeftOut.Rest != nil {
		rest.Messages.Add(*n.LeftOut.Rest)
	}
	rest.Messages.Add(s.moved)
	s.over = len(n.Addresses) - len(shown) + n.LeftOut.Addresses
	s.before = true
	return append(shown, rest), s.over
}

// forget takes down what the bus does not know any more.
func (s *shelf) forget(all []inspect.Address) {
	known := make(map[string]bool, len(all))
	for _, a := range all {
		known[a.Address] = true
	}
	for a := range s.listed {
		if !known[a] {
			delete(s.listed, a)
		}
	}
}

// fill gives places that are free to the busiest that have none.
func (s *shelf) fill(all []inspect.Address) {
	var fresh []inspect.Address
	for _, a := range all {
		if !s.listed[a.Address] && a.Address != other { // which has its place
			fresh = append(fresh, a)
		}
	}
	slices.SortFunc(fresh, func(a, b inspect.Address) int {
		return cmp.Or(cmp.Compare(b.Sent+b.Handled, a.Sent+a.Handled), strings.Compare(a.Address, b.Address))
	})
	had := s.over > 0
	for _, a := range fresh[:min(len(fresh), s.most-len(s.listed))] {
		s.listed[a.Address] = true
		if s.before && had {
			s.moved.Add(a.Messages) // it may have been among the others
		}
	}
}
