package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// bench is one run of the program.
type bench struct {
	scale
	keys    *Keys
	profile string // directory; "" for none
	note    func(format string, args ...any)
}

// group is the cells that take turns.
type group struct {
	name  string
	cells []*cell
}

func groups(cs []*benchCase) (gs []*group) {
	for _, c := range cs {
		i := slices.IndexFunc(gs, func(g *group) bool { return g.name == c.group })
		if i < 0 {
			i, gs = len(gs), append(gs, &group{name: c.group})
		}
		for _, s := range c.systems {
			gs[i].cells = append(gs[i].cells, &cell{c: c, system: s})
		}
	}
	return gs
}

// run measures a group until a time, but for one round at least.
func (b *bench) run(ctx context.Context, g *group, until time.Time) error {
	fleets := b.warmUp(ctx, g)
	defer func() {
		for _, f := range fleets {
			b.end(f)
		}
	}()
	var longest time.Duration
	rounds := b.roundsOf(g.cells[0].c)
	for r := range rounds {
		if r > 0 && time.Until(until) < longest {
			b.note("%s: %d of %d rounds, as time is short", g.name, r, rounds)
			break
		}
		b.note("%s: round %d of %d", g.name, r+1, rounds)
		began := time.Now()
		b.round(ctx, g)
		longest = max(longest, time.Since(began))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// round runs each cell, in a new order, so that what one leaves behind does not
// always fall to the same.
func (b *bench) round(ctx context.Context, g *group) {
	turns := b.turnsOf(g.cells[0].c)
	for range turns {
		for _, i := range rand.Perm(len(g.cells)) {
			if c := g.cells[i]; c.alive() && ctx.Err() == nil {
				c.add(b.one(ctx, c, b.each/time.Duration(turns)))
			}
		}
	}
}

func (c *cell) add(s sample, err error) {
	switch {
	case err != nil:
		c.err = err
	case s.notYet != "":
		c.notYet = s.notYet
	default:
		c.samples = append(c.samples, s)
	}
}

// oneLimit bounds a run of a cell beyond the time it is meant to take.
const oneLimit = time.Minute

// one runs a cell once.
func (b *bench) one(ctx context.Context, c *cell, d time.Duration) (s sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, d+oneLimit)
	defer cancel()
	f := c.fleet
	if c.c.fresh {
		if f, err = b.start(ctx, c); err != nil {
			return s, err
		}
		defer b.end(f)
	}
	return c.c.run(ctx, f, c.c, d)
}

// warmUp starts the processes that cells share, and runs each cell once.
func (b *bench) warmUp(ctx context.Context, g *group) map[shape]*fleet {
	b.note("%s: warming up", g.name)
	fleets := make(map[shape]*fleet)
	for _, c := range g.cells {
		if c.c.fresh {
			continue
		}
		s := c.c.shape(c.system, b.keys)
		if fleets[s] == nil {
			f, err := b.start(ctx, c)
			if err != nil {
				c.err = err
				continue
			}
			fleets[s] = f
		}
		c.fleet = fleets[s]
		warm, err := b.one(ctx, c, min(b.each, warmUpMax))
		c.err, c.notYet, c.warmLost = err, warm.notYet, warm.lost
	}
	if b.profile != "" {
		for _, f := range fleets {
			if err := f.startProfile(ctx, b.profile, g.name); err != nil {
				b.note("%v", err)
			}
		}
	}
	return fleets
}

func (b *bench) start(ctx context.Context, c *cell) (*fleet, error) {
	ctx, cancel := context.WithTimeout(ctx, oneLimit)
	defer cancel()
	f := &fleet{shape: c.c.shape(c.system, b.keys)}
	err := f.start(ctx, c.c.bare)
	if err == nil && c.c.prepare != nil {
		err = c.c.prepare(ctx, f, c.c)
	}
	if err != nil {
		b.end(f)
		return nil, fmt.Errorf("starting: %w", err)
	}
	return f, nil
}

// end ends the processes of a fleet. That one does not end well is told, and
// changes nothing of what was measured.
func (b *bench) end(f *fleet) {
	ctx, cancel := context.WithTimeout(context.Background(), stopAfter)
	defer cancel()
	if err := f.endProfile(ctx); err != nil {
		b.note("%v", err)
	}
	if err := f.stop(); err != nil {
		b.note("%v", err)
	}
}
