package cluster_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
)

// slowToSend is a network on which the answer to a packet may come before the call
// that sent the packet has returned.
type slowToSend struct{ cluster.Network }

func (s slowToSend) Listen(ctx context.Context, addr netip.AddrPort) (net.Listener, cluster.PacketConn, error) {
	l, p, err := s.Network.Listen(ctx, addr)
	return l, slowPackets{p}, err
}

type slowPackets struct{ cluster.PacketConn }

func (s slowPackets) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	n, err := s.PacketConn.WriteToUDPAddrPort(b, to)
	time.Sleep(10 * time.Millisecond) // in virtual time
	return n, err
}

// TestPingTakesTime: what Ping returns is never below zero.
func TestPingTakesTime(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 2, func(t *testing.T, c *clustertest.Cluster) {
		for range 20 {
			if took, err := c.Node(0).Ping(c.Node(1).Self()); err != nil || took < 10*time.Millisecond {
				t.Errorf("took %v, %v", took, err)
			}
		}
	}, clustertest.WithConfig(func(_ int, c *cluster.Config) { c.Network = slowToSend{c.Network} }))
}
