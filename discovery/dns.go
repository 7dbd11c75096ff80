package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// askLimit is how long a provider of this package takes at most.
const askLimit = 10 * time.Second

// DNS returns a Provider that looks up the A and AAAA records of a name, given
// as "name:port" with the port at which all nodes are reached. That is what a
// headless Kubernetes service has (with publishNotReadyAddresses, so that a
// node is found before it is ready), and what AWS Cloud Map has for tasks in
// awsvpc mode; the latter shows at most eight of them at a time, which is
// enough: one that lives leads to all.
//
// It asks the system's resolver, for ten seconds at most, and does not wait for
// one family of addresses when the other has been there for half a second. A name that does not
// exist or has no address is an error, since a mistyped name and one that has
// no nodes as yet look the same. The answer is as fresh as the record's time to
// live.
func DNS(addr string) Provider { return hostDNS(net.DefaultResolver, addr) }

func hostDNS(resolver *net.Resolver, addr string) Provider {
	if err := validate(addr); err != nil {
		return failing(fmt.Errorf("discovery: DNS name and port %w", err))
	}
	host, port, _ := net.SplitHostPort(addr) // was validated
	return ProviderFunc(func(ctx context.Context) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		ips, err := addressesOf(ctx, resolver, host)
		if err != nil {
			return nil, notLookedUp("addresses", host, err)
		}
		var list []string
		for _, ip := range ips {
			list = append(list, net.JoinHostPort(ip.Unmap().String(), port))
		}
		return usable("addresses", host, list)
	})
}

// otherFamily is how long addresses of one family wait for those of the other.
const otherFamily = 500 * time.Millisecond

// addressesOf looks up IPv4 and IPv6 side by side, so that a family whose
// queries are never answered, as those for AAAA behind some firewalls, does not
// hide the other.
func addressesOf(ctx context.Context, resolver *net.Resolver, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		ips []netip.Addr
		err error
	}
	answers := make(chan answer, 2)
	for _, family := range []string{"ip4", "ip6"} {
		go func() { // ends with the lookup, which ctx ends
			ips, err := resolver.LookupNetIP(ctx, family, host)
			answers <- answer{ips, err}
		}()
	}
	first := <-answers
	var late <-chan time.Time
	if len(first.ips) > 0 {
		late = time.After(otherFamily)
	}
	select {
	case second := <-answers:
		if all := append(first.ips, second.ips...); len(all) > 0 {
			return all, nil
		}
		if isNotFound(first.err) {
			return nil, second.err // says as much, or more
		}
		return nil, first.err
	case <-late:
		return first.ips, nil
	}
}

func isNotFound(err error) bool {
	var failure *net.DNSError
	return errors.As(err, &failure) && failure.IsNotFound
}

// SRV returns a Provider that looks up the SRV records of name,
// "_node._tcp.web.internal" say, which give a port for each node. Cloud Map has
// them for tasks in all network modes, Kubernetes for named ports. The list has
// the records' target names, which its reader resolves, those of the lowest
// priority first. For the rest it is like [DNS].
func SRV(name string) Provider { return serviceDNS(net.DefaultResolver, name) }

func serviceDNS(resolver *net.Resolver, name string) Provider {
	if err := validateHost(name); err != nil {
		return failing(fmt.Errorf("discovery: SRV name: %w", err))
	}
	return ProviderFunc(func(ctx context.Context) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		_, records, err := resolver.LookupSRV(ctx, "", "", name)
		if err != nil {
			return nil, notLookedUp("SRV records", name, err)
		}
		var list []string
		for _, r := range records {
			host := strings.TrimSuffix(r.Target, ".")
			list = append(list, net.JoinHostPort(host, strconv.Itoa(int(r.Port))))
		}
		return usable("SRV records", name, list)
	})
}

func notLookedUp(what, name string, err error) error {
	if isNotFound(err) {
		return fmt.Errorf("discovery: %s of %q: %w; check the name, or wait until a node is registered", what, name, err)
	}
	return fmt.Errorf("discovery: %s of %q: %w", what, name, err)
}

// usable returns what of list can be an entry, each once. That there is none is
// an error.
func usable(what, name string, list []string) ([]string, error) {
	var good []string
	for _, addr := range list {
		if validate(addr) == nil && !slices.Contains(good, addr) {
			good = append(good, addr)
		}
	}
	if len(good) == 0 {
		return nil, fmt.Errorf("discovery: %s of %q: none can be used: %q", what, name, list)
	}
	return good, nil
}
