package ecs

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Result is what a call of [Provider.Look] found.
type Result struct {
	// Peers are the addresses, as [Provider.Peers] returns them.
	Peers []string
	// Listed is how many tasks ECS listed, besides the own one.
	Listed int
	// SelfListed says that the own task was listed, too. It is not when other
	// services are looked for, and not for some seconds after its start, since
	// lists lag behind.
	SelfListed bool
	// Missing are those of Config.Services that do not exist, or not yet, while
	// others do.
	Missing []string
	// Skipped is how many of the listed tasks are not among the peers, by the
	// reason, in words.
	Skipped map[string]int
}

// Look is Peers with an account of what was found, for a program that shows why
// a task does not find others. Beside an error the Result is empty, but for
// ErrHostPort and ErrNoAddress: there, it has the tasks that cannot be reached.
func (p *Provider) Look(ctx context.Context) (Result, error) {
	if p == nil {
		return Result{}, errNil
	}
	before := p.polls.Load()
	giveBack, err := p.take(ctx)
	if err != nil {
		return Result{}, err
	}
	defer giveBack()
	if p.polls.Load() == before { // else another call has ended since this one began
		limited, cancel := limit(ctx)
		defer cancel()
		err := p.poll(limited)
		if err != nil && ctx.Err() != nil {
			return Result{}, err // is of no use to other callers
		}
		p.failure = err
		p.polls.Add(1)
	}
	if p.failure != nil {
		return Result{}, p.failure
	}
	return p.result()
}

// result makes an answer of what p.seen has. A list that is empty only because
// no task can be reached is an error: others are there.
func (p *Provider) result() (Result, error) {
	var refused error
	r := Result{Listed: len(p.seen), SelfListed: p.selfSeen, Missing: slices.Clone(p.missing), Skipped: map[string]int{}}
	reachable := make([]peer, 0, len(p.seen))
	for _, id := range slices.Sorted(maps.Keys(p.seen)) {
		peer := p.seen[id]
		if peer.addr.IsValid() {
			reachable = append(reachable, peer)
			continue
		}
		r.Skipped[peer.reason]++
		if peer.refused != nil {
			refused = peer.refused
		}
	}
	r.Peers = addresses(reachable)
	p.tell(r)
	p.tellRefusing(r)
	if len(reachable) == 0 && refused != nil {
		return r, fmt.Errorf("ecs: %d other tasks run in cluster %q, none of which can be reached; one of them: %w",
			r.Skipped[reasonUnreachable], p.cluster, refused)
	}
	return r, nil
}

// tell logs what was found, so that everybody sees why there are no peers.
func (p *Provider) tell(r Result) {
	summary := fmt.Sprint(r.Listed, len(r.Peers), r.Skipped)
	log := p.cfg.Logger.Debug
	if len(r.Peers) == 0 && summary != p.told {
		log = p.cfg.Logger.Info
	}
	p.told = summary
	log("tasks listed", "cluster", p.cluster, "listed", r.Listed, "peers", len(r.Peers), "self", r.SelfListed, "skipped", r.Skipped)
}
