package ecs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// peer is what is known about one task that is not this one.
type peer struct {
	addr     netip.AddrPort // zero: not known
	rank     int            // 0 runs, more is less established
	started  time.Time      // zero: not known
	instance string         // ARN of the container instance whose address it has, "" if its own
	settled  bool           // will not change any more
	reason   string         // why it has no addr
	refused  error          // why it cannot be reached, though it runs
}

// Peers returns the addresses of the other tasks of the services and families
// it looks for, those that run before those that start, the oldest first (but
// for a shuffle among neighbours, so that not all nodes ask the same one). The
// own task is never in the list. A task that has no address as yet, is
// stopping, or is not wanted by Config, is left out; see the package
// documentation.
//
// It calls the API, for up to ten seconds in all: for up to a hundred tasks
// once when nothing has changed since the last call, else twice. It may be
// called concurrently; who calls while another call is under way shares its
// answer.
//
// The error is ErrTemporary for throttling, faults, time-outs, and an empty
// list that lacks even the own task; ErrAccessDenied, ErrNoCredentials,
// ErrClusterNotFound or ErrServiceNotFound; ErrHostPort or ErrNoAddress when
// there are other tasks, all of which run where they cannot be reached. An
// error of HostIP is wrapped. When ctx ended it is its cause. What the last
// call found is not forgotten by an error: only what has changed since is asked
// for next time.
func (p *Provider) Peers(ctx context.Context) ([]string, error) {
	result, err := p.Look(ctx)
	if err != nil {
		return nil, err
	}
	return result.Peers, nil
}

// poll brings p.seen up to date. After an error it is as it was, so that
// nothing partial is kept.
func (p *Provider) poll(ctx context.Context) error {
	if err := p.api.ready(ctx); err != nil {
		return err
	}
	listed, self, err := p.listAll(ctx)
	if err != nil {
		return err
	}
	fresh, ask := p.recall(listed)
	if len(ask) > 0 {
		if err := p.learnOwn(ctx); err != nil {
			return err
		}
		if err := p.spread(ctx, len(ask)); err != nil {
			return err
		}
		found, missing, err := p.describe(ctx, p.cluster, ask)
		if err != nil {
			return err
		}
		for _, id := range missing {
			fresh[id] = peer{reason: reasonMissing}
		}
		if err := p.place(ctx, found, fresh); err != nil {
			return err
		}
	}
	p.seen, p.selfSeen = fresh, self
	p.forgetHosts()
	return nil
}

// listAll returns the ARN of every listed task but the own one, by id, and
// whether that was listed. Lists are eventually consistent: one that is empty
// though it should have the own task says nothing.
func (p *Provider) listAll(ctx context.Context) (listed map[string]string, self bool, err error) {
	want, err := p.selections(ctx)
	if err != nil {
		return nil, false, err
	}
	listed = map[string]string{}
	for _, s := range want {
		arns, err := p.list(ctx, s)
		if err != nil {
			return nil, false, err
		}
		for _, arn := range arns {
			listed[lastPart(arn)] = arn
		}
	}
	_, self = listed[p.task.ID]
	delete(listed, p.task.ID)
	delete(listed, "")
	if len(listed) > 0 || self {
		return listed, self, nil
	}
	expected, err := p.expectsSelf(ctx, want)
	if err != nil {
		return nil, false, err
	}
	if expected {
		return nil, false, fmt.Errorf("%w: the list of tasks in cluster %q is empty and lacks even the own task %s, so that it is not up to date",
			ErrTemporary, p.cluster, p.task.ID)
	}
	return listed, self, nil
}

// recall splits the listed tasks into those about which all is known and those
// to ask about.
func (p *Provider) recall(listed map[string]string) (known map[string]peer, ask []string) {
	known = make(map[string]peer, len(listed))
	for id, arn := range listed {
		if old, ok := p.seen[id]; ok && old.settled {
			known[id] = old
		} else {
			ask = append(ask, arn)
		}
	}
	slices.Sort(ask)
	return known, ask
}

// place adds to fresh every task of found that may be a peer, now or later.
func (p *Provider) place(ctx context.Context, found map[string]types.Task, fresh map[string]peer) error {
	sightings := make(map[string]sighting, len(found))
	var instances []string
	for id, t := range found {
		s := p.look(t)
		sightings[id] = s
		if s.instance != "" {
			instances = append(instances, s.instance)
		}
	}
	if err := p.resolveHosts(ctx, p.cluster, instances); err != nil {
		return err
	}
	for id, s := range sightings {
		fresh[id] = p.peerFrom(id, s)
	}
	return nil
}

// peerFrom completes a sighting by the address of the host, and says why a task
// is left out.
func (p *Provider) peerFrom(id string, s sighting) peer {
	if s.instance != "" {
		if ip, ok := p.host[s.instance]; ok {
			s.ip = ip
		} else {
			s.refused = noHostAddress(s.instance)
		}
	}
	made := peer{rank: s.rank, started: s.started, instance: s.instance, reason: s.reason, settled: s.final, refused: s.refused}
	switch {
	case s.refused != nil:
		p.cfg.Logger.Warn("task left out", "task", id, "reason", reasonUnreachable, "err", s.refused)
		made.reason = reasonUnreachable
		made.settled = errors.Is(s.refused, ErrHostPort) // an attribute may still be set
	case !s.ip.IsValid():
		p.cfg.Logger.Debug("task left out", "task", id, "reason", s.reason)
	default:
		made.addr = netip.AddrPortFrom(s.ip, uint16(s.port))
		made.settled = s.rank == 0 && !p.cfg.SkipUnhealthy
	}
	return made
}

// forgetHosts drops the addresses of container instances that run no listed
// task any more.
func (p *Provider) forgetHosts() {
	used := map[string]bool{}
	for _, peer := range p.seen {
		used[peer.instance] = true
	}
	maps.DeleteFunc(p.host, func(arn string, _ netip.Addr) bool { return !used[arn] })
}
