package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// Bounds of what gossip makes a node keep of others, whoever tells of them.
const (
	maxMembers   = 4096            // members that are alive; a cluster has a few hundred
	manyGone     = 1024            // members listed that are not, beyond which they are forgotten sooner
	forgetSooner = 2 * time.Minute // where they come and go in a loop
)

// A census decides of whom gossip may tell. Members are dialled, wherever their
// addresses lead.
type census struct {
	self   uint64
	own    netip.Addr // at which others reach this node
	roster *roster

	mu     sync.Mutex
	gone   int       // members listed that are not alive
	looked time.Time // when they were counted
}

var (
	_ memberlist.AliveDelegate       = (*census)(nil)
	_ serf.ReconnectTimeoutOverrider = (*census)(nil)
)

// NotifyAlive refuses to count a member among the living. memberlist calls it for
// whatever it hears of, under a lock.
func (c *census) NotifyAlive(n *memberlist.Node) error {
	boot, err := bootOf(n.Name)
	if err != nil {
		return err
	}
	ip, ok := netip.AddrFromSlice(n.Addr)
	if !ok || n.Port == 0 {
		return fmt.Errorf("its address %v, port %d is none", n.Addr, n.Port)
	}
	if err := c.checkAddr(ip.Unmap()); err != nil {
		return err
	}
	if _, known := c.roster.get(boot); !known && boot != c.self && c.roster.company().alive >= maxMembers {
		return fmt.Errorf("there are %d members already", maxMembers)
	}
	return nil
}

// checkAddr says what is wrong with the address of a member.
func (c *census) checkAddr(ip netip.Addr) error {
	switch {
	case ip.IsUnspecified(), ip.IsMulticast(), ip == broadcast:
		return fmt.Errorf("its address %v is of no host", ip)
	case ip.IsLoopback() && !c.own.IsLoopback():
		return fmt.Errorf("its address %v is a loopback one, this node's is not", ip)
	case ip.IsLinkLocalUnicast() && !c.own.IsLinkLocalUnicast():
		return fmt.Errorf("its address %v is a link-local one, this node's is not", ip)
	}
	return nil
}

// ReconnectTimeout says how long a member that failed or left is listed: as set, but
// less where there are many, as when tasks crash and are replaced in a loop. serf
// tells of all that it lists in each exchange of states, which has a limit.
func (c *census) ReconnectTimeout(_ *serf.Member, set time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= time.Second { // serf asks about one after the other
		c.gone, c.looked = c.roster.gone(), now
	}
	if c.gone > manyGone {
		return min(set, forgetSooner)
	}
	return set
}

// bootOf returns the boot id in a gossip name.
func bootOf(name string) (uint64, error) {
	const digits = 16
	at := len(name) - digits - 1
	if at < 1 || name[at] != '-' || !nameRule.MatchString(name[:at]) {
		return 0, errors.New("its name is not a node's")
	}
	boot, err := strconv.ParseUint(name[at+1:], 16, 64)
	if err != nil || boot == 0 {
		return 0, errors.New("its name has no boot id")
	}
	return boot, nil
}
