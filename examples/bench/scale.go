package main

import "time"

// scale is how much is measured.
type scale struct {
	rounds    int
	long      int           // rounds of cases that take a second and more
	each      time.Duration // for which a case runs in a round
	budget    time.Duration // of all; rounds are left out for it
	consumers int
	nodes     int
}

var (
	defaultScale = scale{rounds: 9, long: 3, each: 600 * time.Millisecond, budget: 7*time.Minute + 15*time.Second, consumers: 100_000, nodes: 50}
	quickScale   = scale{rounds: 5, long: 1, each: 80 * time.Millisecond, budget: 40 * time.Second, consumers: 20_000, nodes: 50}
)

// startCost is what the start and end of the processes of a system take.
const startCost = 150 * time.Millisecond

// warmUpMax bounds the run of a case that is not counted.
const warmUpMax = 300 * time.Millisecond

func (s *scale) roundsOf(c *benchCase) int {
	if c.takes >= time.Second {
		return min(s.long, s.rounds)
	}
	return s.rounds
}

// sliceMin is the least turn that a round is split into.
const sliceMin = 100 * time.Millisecond

func (s *scale) turnsOf(c *benchCase) int {
	if c.takes == 0 {
		return max(1, min(c.slices, int(s.each/sliceMin)))
	}
	return max(1, c.slices)
}

// cost is about what a group takes.
func (s *scale) cost(g *group) (d time.Duration) {
	started := make(map[shape]bool)
	for _, c := range g.cells {
		if sh := c.c.shape(c.system, nil); !started[sh] {
			started[sh] = true
			d += startCost
		}
		n := time.Duration(s.roundsOf(c.c))
		if c.c.fresh {
			d += n * c.c.takes * time.Duration(s.turnsOf(c.c))
		} else {
			d += n*s.each + min(s.each, warmUpMax)
		}
	}
	return d
}

// share returns when the first of the groups should end, so that all do by end.
func (s *scale) share(gs []*group, end time.Time) time.Time {
	var total time.Duration
	for _, g := range gs {
		total += s.cost(g)
	}
	part := float64(s.cost(gs[0])) / float64(total)
	return time.Now().Add(time.Duration(part * float64(time.Until(end))))
}
