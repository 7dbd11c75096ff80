package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/runrig-go/runrig/bus"
)

// Members are not dialled wherever gossip's word leads.
func TestCensusOfAddresses(t *testing.T) {
	t.Parallel()
	const name = "x-0000000000000007"
	for told, c := range map[string]struct{ own, passes bool }{ // at 10.0.0.1, and at 127.0.0.1
		"10.0.0.2:7946":         {true, true},
		"[2001:db8::1]:7946":    {true, true},
		"127.0.0.1:7946":        {false, true},
		"[::ffff:127.0.0.1]:80": {false, true},
		"[::1]:7946":            {false, true},
		"169.254.169.254:80":    {false, false},
		"[fe80::1]:7946":        {false, false},
		"224.0.0.1:7946":        {false, false},
		"255.255.255.255:7946":  {false, false},
		"0.0.0.0:7946":          {false, false},
		"10.0.0.2:0":            {false, false},
	} {
		at := netip.MustParseAddrPort(told)
		for own, passes := range map[string]bool{"10.0.0.1": c.own, "127.0.0.1": c.passes} {
			census := &census{self: 1, own: netip.MustParseAddr(own), roster: newRoster()}
			ip16 := at.Addr().As16()
			err := census.NotifyAlive(&memberlist.Node{Name: name, Addr: net.IP(ip16[:]), Port: at.Port()})
			if (err == nil) != passes {
				t.Errorf("%s told to %s: %v, want passes %v", told, own, err, passes)
			}
		}
	}
	census := &census{self: 1, own: netip.MustParseAddr("10.0.0.1"), roster: newRoster()}
	if census.NotifyAlive(&memberlist.Node{Name: name, Addr: net.IP{1, 2, 3}, Port: 1}) == nil {
		t.Error("an address of three bytes passes")
	}
	for _, name := range []string{"", "x", "-0000000000000007", "x-0000000000000000", "x-000000000000000g", "a b-0000000000000007", "x0000000000000007"} {
		if census.NotifyAlive(&memberlist.Node{Name: name, Addr: net.IP{10, 0, 0, 2}, Port: 1}) == nil {
			t.Errorf("the name %q passes", name)
		}
	}
}

// There may be so many members and no more; those that are known, and this node, go
// on. Of those that are gone many are forgotten sooner.
func TestCensusIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &census{self: 1, own: netip.MustParseAddr("10.0.0.1"), roster: newRoster()}
		node := func(boot uint64) *memberlist.Node {
			return &memberlist.Node{Name: gossipName("x", boot), Addr: net.IP{10, 0, 0, 2}, Port: 1}
		}
		hear := func(boot uint64, s Status) {
			c.roster.hear(Member{Peer: bus.Peer{Name: "x", Boot: boot, Addr: fmt.Sprint("10.0.0.2:", boot)}, Status: s})
		}
		c.roster.update(func() {
			for boot := range uint64(maxMembers) {
				hear(boot+2, StatusAlive)
			}
		})
		if err := c.NotifyAlive(node(maxMembers + 2)); err == nil {
			t.Error("one more than there may be passes")
		}
		if err := c.NotifyAlive(node(2)); err != nil {
			t.Error("one that is known:", err)
		}
		if err := c.NotifyAlive(node(1)); err != nil {
			t.Error("this node:", err)
		}
		for gone, want := range map[uint64]time.Duration{manyGone: time.Hour, manyGone + 1: forgetSooner} {
			time.Sleep(time.Second)
			c.roster.update(func() {
				for boot := range uint64(maxMembers) {
					s := StatusAlive
					if boot < gone {
						s = StatusFailed
					}
					hear(boot+2, s)
				}
			})
			if got := c.ReconnectTimeout(nil, time.Hour); got != want {
				t.Errorf("%d are gone: listed for %v, want %v", gone, got, want)
			}
		}
	})
}
