package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Ping sends a packet to a member and waits for its answer, 200 ms at most. It
// is for finding out what is wrong with a network: gossip falls back to TCP
// where no packets (UDP) pass, slowly, and says so once a minute. It returns how long
// the answer took. The error names the member, and says that it did not answer
// or that nothing was sent; one lost packet is no proof, so try again.
func (n *Node) Ping(m Member) (time.Duration, error) {
	at, err := netip.ParseAddrPort(m.Addr)
	if err != nil {
		return 0, fmt.Errorf("cluster: ping %v: %w", m, err)
	}
	began := time.Now() // memberlist reckons from after the packet was sent, when the answer may be there
	_, err = n.gossip.Memberlist().Ping(m.String(), net.UDPAddrFromAddrPort(at))
	if err != nil {
		return 0, fmt.Errorf("cluster: ping %v at %v over UDP: %w", m, at, err)
	}
	return time.Since(began), nil
}
