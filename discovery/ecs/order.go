package ecs

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// shuffled is how many neighbours in the order of age change places.
const shuffled = 4

// addresses returns the addresses of peers, each once: those that run first,
// the oldest first.
func addresses(peers []peer) []string {
	slices.SortFunc(peers, older)
	for from := 0; from < len(peers); {
		to := from + 1
		for to < len(peers) && to-from < shuffled && peers[to].rank == peers[from].rank {
			to++
		}
		block := peers[from:to]
		rand.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
		from = to
	}
	addrs := make([]string, 0, len(peers))
	had := make(map[netip.AddrPort]bool, len(peers))
	for _, p := range peers {
		if !had[p.addr] {
			had[p.addr] = true
			addrs = append(addrs, p.addr.String())
		}
	}
	return addrs
}

func older(a, b peer) int {
	switch {
	case a.rank != b.rank:
		return cmp.Compare(a.rank, b.rank)
	case a.started.IsZero() != b.started.IsZero():
		if a.started.IsZero() {
			return 1
		}
		return -1
	}
	return cmp.Or(a.started.Compare(b.started), a.addr.Compare(b.addr))
}
