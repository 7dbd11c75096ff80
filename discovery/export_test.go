package discovery

import "net"

// DNSBy is DNS with another resolver than the system's.
func DNSBy(r *net.Resolver, addr string) Provider { return hostDNS(r, addr) }

// SRVBy is SRV with another resolver than the system's.
func SRVBy(r *net.Resolver, name string) Provider { return serviceDNS(r, name) }
