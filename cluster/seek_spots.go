package cluster

import (
	"errors"
	"net/netip"
	"syscall"
	"time"
)

// How often an address at which nobody answers is asked by a node that is with
// others: after an eighth of the time for which it has been silent, within these
// bounds.
const (
	awayLeast = 3 * time.Second
	awayMost  = 2 * time.Minute
	awayMany  = 15 * time.Second // the longest while more members have failed than are linked
	ownTold   = 5 * time.Second  // a silence at the own address that is told: a crowd may have been before
	awayTold  = time.Minute      // a silence that is told
	awayGone  = 30 * time.Second // how long who has failed is asked though discovery does not tell of it
)

// A spot is an address that was asked who is there.
type spot struct {
	due    time.Time // to be asked again
	silent time.Time // since when nobody has answered; zero: somebody has
	vacant bool      // nobody listens there
	mine   bool      // this node has answered
	others int       // how often in a row another one has, though the address is this node's
	told   bool
}

// spot returns what is known of an address.
func (s *seeker) spot(a netip.AddrPort) *spot {
	at := s.spots[a]
	if at == nil {
		at = new(spot)
		s.spots[a] = at
	}
	return at
}

// plain is the text of an address as members tell theirs.
func plain(a netip.AddrPort) string { return inZone(a, "").String() }

func (s *seeker) isOwn(a netip.AddrPort) bool { return plain(a) == s.own.Addr }

// silence notes that nobody answered at an address.
func (s *seeker) silence(at *spot, r tried) {
	now := time.Now()
	if at.silent.IsZero() {
		at.silent = now
	}
	at.vacant, at.mine, at.others = errors.Is(r.err, syscall.ECONNREFUSED), false, 0
	at.due = now.Add(s.pace(now.Sub(at.silent)))
	switch {
	case at.told:
	case s.isOwn(r.addr):
		if now.Sub(at.silent) < ownTold {
			break
		}
		at.told = true
		s.log.Warn("nobody, not even this node, is at the address that it advertises; see Config.Advertise", "address", r.addr.String(), "err", r.err)
	case now.Sub(at.silent) >= awayTold && s.roster.company().alive > 0:
		at.told = true
		if held, ok := s.silences.pass(); ok {
			s.log.Info("nobody answers at an address where a node should be; it is asked less and less often", "address", r.addr.String(), "err", r.err, "more", held)
		}
	}
}

// pace says when an address is asked again that has been silent for a while.
func (s *seeker) pace(silent time.Duration) time.Duration {
	c, most := s.roster.company(), awayMost
	switch {
	case c.alive == 0:
		return jitter(seekMost, 0.2)
	case c.failed > c.linked: // this node may be the one that is away
		most = awayMany
	}
	return jitter(min(max(silent/8, awayLeast), most), 0.2)
}

// squat notes that another node answered at this node's address. It may be one
// that is going, or a predecessor behind a translation of addresses that has not
// changed yet; one that answers again is there to stay.
func (s *seeker) squat(at *spot, r tried) {
	at.others++
	if at.others > 1 {
		s.news.occupied(r.who)
	}
}

// lost returns the addresses of members that have failed. Those of which
// discovery does not tell, though it tells of some that live, are asked for half
// a minute: then they are taken for gone.
func (s *seeker) lost() (addrs []netip.AddrPort) {
	named, knows := s.toldOf()
	for addr, since := range s.roster.away() {
		a, err := netip.ParseAddrPort(addr)
		if err == nil && (!knows || named[addr] || time.Since(since) < awayGone) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// toldOf returns the addresses that discovery told of, and whether it knows
// others that live.
func (s *seeker) toldOf() (named map[string]bool, knows bool) {
	named = map[string]bool{}
	living := s.roster.living()
	for _, n := range s.told {
		for _, a := range n.addrs {
			named[plain(a)] = true
			knows = knows || living[plain(a)]
		}
	}
	return named, knows && s.failed == nil
}

// nextDue returns when the next silent address is to be asked, zero if there is
// none.
func (s *seeker) nextDue() (next time.Time) {
	living := s.roster.living()
	for a, at := range s.spots {
		if !at.silent.IsZero() && !living[plain(a)] && !s.isOwn(a) && (next.IsZero() || at.due.Before(next)) {
			next = at.due
		}
	}
	return next
}

// outlook says what is to be thought of who else is there.
func (s *seeker) outlook() outlook {
	switch {
	case s.roster.company().alive > 0:
		return reached
	case s.provider == nil:
		return s.look(s.lost())
	case s.blind:
		return unknown
	}
	o := vacant
	for _, n := range s.told {
		if s.look(n.addrs) == missed {
			o = missed
		}
	}
	return o
}

// look says whether somebody was missed at the addresses of one name.
func (s *seeker) look(addrs []netip.AddrPort) outlook {
	mine := false
	for _, a := range addrs {
		mine = mine || s.isOwn(a) || s.spots[a] != nil && s.spots[a].mine
	}
	for _, a := range addrs {
		if !s.isEmpty(a, mine) {
			return missed
		}
	}
	return vacant
}

// isEmpty reports whether nobody else is to be expected at an address. One that
// refuses has nobody; but a new node does not believe it until it has run for a
// while, as the others may be starting, too. With mine the address is another
// one of a name that leads to this node, as localhost does: what refuses there, or
// is of this host, is nobody else's.
func (s *seeker) isEmpty(a netip.AddrPort, mine bool) bool {
	at := s.spots[a]
	switch {
	case s.isOwn(a):
		return at == nil || at.others == 0
	case at == nil:
		return false
	case at.mine:
		return true
	case mine && a.Addr().IsLoopback():
		return true
	}
	return at.vacant && (mine || !s.young() || s.news.Serving())
}
