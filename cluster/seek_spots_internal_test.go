package cluster

import (
	"net/netip"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster/internal/wire"
)

// serves is a node that is fit to serve, or not yet.
type serves struct {
	seekerNews
	yes bool
}

func (s serves) Serving() bool { return s.yes }

// What is at the addresses of a name says whether somebody was missed there. An
// address that refuses has nobody, when the node has run for a while; silence
// says nothing; and of a name that leads to this node the loopback addresses are
// this node's, whatever happens at them.
func TestLook(t *testing.T) {
	t.Parallel()
	at := func(list ...string) (all []netip.AddrPort) {
		for _, a := range list {
			all = append(all, netip.MustParseAddrPort(a))
		}
		return all
	}
	silent, refuses, mine := &spot{silent: time.Now()}, &spot{silent: time.Now(), vacant: true}, &spot{mine: true}
	for what, c := range map[string]struct {
		addrs []netip.AddrPort
		spots []*spot
		old   bool
		want  outlook
	}{
		"nothing":                   {nil, nil, false, vacant},
		"never asked":               {at("10.0.0.2:1"), []*spot{nil}, true, missed},
		"silent":                    {at("10.0.0.2:1"), []*spot{silent}, true, missed},
		"refuses, and is young":     {at("10.0.0.2:1"), []*spot{refuses}, false, missed},
		"refuses, and is old":       {at("10.0.0.2:1"), []*spot{refuses}, true, vacant},
		"itself":                    {at("10.0.0.1:1"), []*spot{nil}, false, vacant},
		"itself at another address": {at("10.0.9.1:1"), []*spot{mine}, false, vacant},
		"another at its own":        {at("10.0.0.1:1"), []*spot{{others: 1}}, true, missed},
		"localhost, twice":          {at("127.0.0.1:1", "[::1]:1"), []*spot{mine, silent}, false, vacant},
		"itself and one refuses":    {at("10.0.0.1:1", "10.0.0.2:1"), []*spot{mine, refuses}, false, vacant},
		"itself and one is silent":  {at("10.0.0.1:1", "10.0.0.2:1"), []*spot{mine, silent}, true, missed},
		"loopback of somebody else": {at("127.0.0.1:1", "[::1]:1"), []*spot{silent, silent}, true, missed},
	} {
		s := &seeker{own: wire.Greeting{Addr: "10.0.0.1:1"}, spots: map[netip.AddrPort]*spot{}, began: time.Now(), news: serves{yes: c.old}}
		for i, a := range c.addrs {
			if c.spots[i] != nil {
				s.spots[a] = c.spots[i]
			}
		}
		if got := s.look(c.addrs); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}
