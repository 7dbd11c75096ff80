package inspect

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/runrig-go/runrig/bus"
)

// Query says how much a snapshot is to hold. What is over is left out, and counted.
type Query struct {
	// Addresses, Members, Links and Verticles are how many there may be: 0 means the
	// default, 200, 1,000, 1,000 and 200 of each node, and less than 0 none. The most
	// is 10,000.
	Addresses int `json:"addresses,omitempty"`
	Members   int `json:"members,omitempty"`
	Links     int `json:"links,omitempty"`
	Verticles int `json:"verticles,omitempty"`

	// Sort says which addresses are kept where there are too many: those with the
	// most "traffic", the default, or the most "pain": what waits, was lost or failed.
	Sort string `json:"sort,omitempty"`

	// Buckets says that durations are to have their buckets.
	Buckets bool `json:"buckets,omitempty"`

	// Match is a text that addresses must have in them.
	Match string `json:"match,omitempty"`
}

// The orders of a Query.
const (
	SortTraffic = "traffic"
	SortPain    = "pain"
)

// mostEntries is how many of a kind a snapshot may hold.
const mostEntries = 10_000

// limit returns how many there may be.
func limit(asked, byDefault int) int {
	switch {
	case asked < 0:
		return 0
	case asked == 0:
		return byDefault
	}
	return min(asked, mostEntries)
}

func (q Query) check() error {
	if !slices.Contains([]string{"", SortTraffic, SortPain}, q.Sort) {
		return fmt.Errorf("inspect: sort %q is neither %q nor %q", q.Sort, SortTraffic, SortPain)
	}
	return nil
}

// values are the query as the parameters of a URL.
func (q Query) values() url.Values {
	v := url.Values{}
	for name, n := range map[string]int{"addresses": q.Addresses, "members": q.Members, "links": q.Links, "verticles": q.Verticles} {
		if n != 0 {
			v.Set(name, strconv.Itoa(n))
		}
	}
	for name, s := range map[string]string{"sort": q.Sort, "match": q.Match} {
		if s != "" {
			v.Set(name, s)
		}
	}
	if q.Buckets {
		v.Set("buckets", "true")
	}
	return v
}

// queryOf reads the parameters of a URL.
func queryOf(v url.Values) (q Query, err error) {
	for name, n := range map[string]*int{"addresses": &q.Addresses, "members": &q.Members, "links": &q.Links, "verticles": &q.Verticles} {
		if s := v.Get(name); s != "" {
			if *n, err = strconv.Atoi(s); err != nil {
				return q, fmt.Errorf("inspect: %s=%q is not a number", name, s)
			}
		}
	}
	if s := v.Get("buckets"); s != "" {
		if q.Buckets, err = strconv.ParseBool(s); err != nil {
			return q, fmt.Errorf("inspect: buckets=%q is neither true nor false", s)
		}
	}
	q.Sort, q.Match = v.Get("sort"), v.Get("match")
	return q, q.check()
}

// rank is the place of an address where there are too many; 0 if it does not match.
func (q Query) rank(a *bus.AddressStats) uint64 {
	switch {
	case !strings.Contains(a.Address, q.Match):
		return 0
	case q.Sort == SortPain:
		return 1 + pain(a)<<20 + min(a.Sent+a.Handled, 1<<20-1)
	}
	return 1 + a.Sent + a.Handled
}

// pain is how much is wrong with an address.
func pain(a *bus.AddressStats) uint64 {
	return uint64(a.Waiting+a.Queued) + a.Failed + a.Panics + a.Expired + a.Skipped + a.Dropped + a.DeadLetters + a.Unknown + a.Undecodable + a.CutOff
}

// cut returns at most n of all, and how many it leaves out.
func cut[T any](all []T, n int) ([]T, int) {
	if len(all) <= n {
		return all, 0
	}
	return all[:n:n], len(all) - n
}
