package ecs

import (
	"fmt"
	"net/netip"
	"strings"
)

// addressRule says which addresses other nodes can reach.
type addressRule struct {
	// loopback allows 127.0.0.0/8 and ::1: only where the metadata endpoint is
	// on loopback too, which is so for a fake of ECS and never inside a task.
	loopback bool
}

// usable reports whether ip may be advertised or dialled. A task's network
// namespace also holds 169.254.x addresses, by which no other task is reached.
func (r addressRule) usable(ip netip.Addr) bool {
	switch {
	case !ip.IsValid(), ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast(), ip.Zone() != "":
		return false
	case ip.IsLoopback():
		return r.loopback
	}
	return true
}

// first returns the first of texts that is a usable address. Metadata of host
// mode has a list of one empty text.
func (r addressRule) first(texts ...string) (netip.Addr, bool) {
	for _, text := range texts {
		if ip, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil && r.usable(ip.Unmap()) {
			return ip.Unmap(), true
		}
	}
	return netip.Addr{}, false
}

// binding is one mapping of a container's port to its host's.
type binding struct {
	hostIP          string
	container, host int
	protocol        string
}

// errUnmapped is an ErrHostPort for want of a mapping, which another source may
// have. Its text is that of ErrHostPort.
var errUnmapped = fmt.Errorf("%w", ErrHostPort)

// hostPort finds the host port under which port is reached by tcp as well as
// udp. The agent draws dynamic host ports for each protocol separately, and
// gossip can advertise only one.
func hostPort(bindings []binding, port int) (int, error) {
	tcp, udp := hostPortOf(bindings, port, "tcp"), hostPortOf(bindings, port, "udp")
	const remedy = "give the port mappings of containerPort %d for tcp and for udp the same static hostPort, or use network mode awsvpc"
	switch {
	case tcp == 0 && udp == 0:
		return 0, fmt.Errorf("%w: container port %d is not mapped to a host port; "+remedy, errUnmapped, port, port)
	case tcp == 0 || udp == 0:
		return 0, fmt.Errorf("%w: container port %d is mapped for one protocol only (host ports: tcp %d, udp %d); "+remedy, errUnmapped, port, tcp, udp, port)
	case tcp != udp:
		return 0, fmt.Errorf("%w: container port %d has host port %d for tcp but %d for udp, as dynamic host ports do; "+remedy, ErrHostPort, port, tcp, udp, port)
	}
	return tcp, nil
}

// hostPortOf prefers the binding of IPv4 where there is another one for IPv6
// with another port.
func hostPortOf(bindings []binding, port int, protocol string) int {
	found := 0
	for _, b := range bindings {
		if b.container != port || b.host < 1 || b.host > 65535 || b.protocol != protocol {
			continue
		}
		if ip, err := netip.ParseAddr(b.hostIP); err != nil || ip.Is4() {
			return b.host
		}
		if found == 0 {
			found = b.host
		}
	}
	return found
}
