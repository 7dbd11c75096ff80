package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/runrig-go/runrig/discovery"
)

const (
	lookupTimeout = 3 * time.Second // for one name
	lookupsAtOnce = 32
)

// names finds the addresses behind what discovery tells. It remembers those of a
// name that was found once, for when name servers fail.
type names struct {
	lookup func(ctx context.Context, told string) ([]netip.AddrPort, error)

	mu    sync.Mutex
	known map[string][]netip.AddrPort
}

// A named is what became of one name, or address, that discovery told.
type named struct {
	told  string
	addrs []netip.AddrPort // with an error those that were found last
	err   error
}

// resolve looks up all names side by side, each with a time of its own, and
// delivers each as it is known. The channel has room for all; it is closed after
// the last.
func (n *names) resolve(ctx context.Context, list []string) <-chan named {
	out := make(chan named, len(list))
	n.forget(list)
	places := make(chan struct{}, lookupsAtOnce)
	var wg sync.WaitGroup
	for _, told := range list {
		if ap, err := netip.ParseAddrPort(told); err == nil {
			out <- named{told: told, addrs: []netip.AddrPort{unmapped(ap)}}
			continue
		}
		wg.Go(func() { // ends with ctx, or when all before it have had their time
			places <- struct{}{}
			defer func() { <-places }()
			out <- n.find(ctx, told)
		})
	}
	go func() { // ends with those above
		wg.Wait()
		close(out)
	}()
	return out
}

// forget drops the names that discovery does not tell any more.
func (n *names) forget(list []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	kept := map[string][]netip.AddrPort{}
	for _, told := range list {
		if addrs := n.known[told]; addrs != nil {
			kept[told] = addrs
		}
	}
	n.known = kept
}

// find looks up one name.
func (n *names) find(ctx context.Context, told string) named {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := n.lookup(ctx, told)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		return named{told, n.known[told], err}
	}
	n.known[told] = addrs
	return named{told, addrs, nil}
}

// lookup turns "host:port" into addresses.
func lookup(ctx context.Context, told string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(told)
	if err != nil {
		return nil, fmt.Errorf("discovery told %q, which is not \"host:port\": %w", told, err)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, fmt.Errorf("discovery told %q: %w", told, err)
	}
	found, err := discovery.DNS(net.JoinHostPort(host, strconv.Itoa(port))).Peers(ctx)
	if err != nil {
		return nil, fmt.Errorf("discovery told %q: %w", told, err)
	}
	var all []netip.AddrPort
	for _, text := range found {
		addr, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, fmt.Errorf("discovery told %q: %w", told, err)
		}
		all = append(all, unmapped(addr))
	}
	return all, nil
}

// unmapped returns an address with IPv4 in four bytes.
func unmapped(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
