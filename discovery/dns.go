package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
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
// It asks the system's resolver, for ten seconds at most. A name that does not
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
		ips, err := resolver.LookupNetIP(ctx, "ip", host)
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
	var failure *net.DNSError
	if errors.As(err, &failure) && failure.IsNotFound {
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
