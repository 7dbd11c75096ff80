package ecs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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
	reason   string         // why it has no addr
	refused  error          // why it cannot be reached, though it runs

	settled bool      // will not change any more
	due     time.Time // when to look again, unless settled
	looks   int       // that have had this outcome
}

// Peers returns the addresses of the other tasks of the services and families
// it looks for, those that run before those that start, the oldest first (but
// for a shuffle among neighbours, so that not all nodes ask the same one). The
// own task is never in the list. A task that has no address as yet, is
// stopping, or is not wanted by Config, is left out; see the package
// documentation.
//
// It calls the API, for up to ten seconds in all: for up to a hundred tasks
// once when nothing has changed since the last call, else twice as a rule. It may be
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

// poll brings p.seen up to date. What an error leaves behind is true of the
// tasks it is about, so that a poll that could not be completed need not begin
// again; but it is no answer.
func (p *Provider) poll(ctx context.Context) error {
	if err := p.api.ready(ctx); err != nil {
		return err
	}
	listed, self, err := p.listAll(ctx)
	if err != nil {
		return err
	}
	maps.DeleteFunc(p.seen, func(id string, _ peer) bool { _, ok := listed[id]; return !ok })
	p.selfSeen = self
	if err := p.examine(ctx, p.unknown(listed)); err != nil {
		return err
	}
	p.forgetHosts()
	return p.checkList()
}

// listAll returns the ARN of every listed task but the own one, by id, and
// whether that was listed. Lists are eventually consistent: one that is empty
// though it should have the own task says nothing.
func (p *Provider) listAll(ctx context.Context) (listed map[string]string, self bool, err error) {
	want, err := p.selections(ctx)
	if err != nil {
		return nil, false, err
	}
	if listed, err = p.listEach(ctx, want); err != nil {
		return nil, false, err
	}
	p.learnAccount(listed)
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

// unknown are the ARNs of the listed tasks that are to be described.
func (p *Provider) unknown(listed map[string]string) (ask []string) {
	now := time.Now()
	for id, arn := range listed {
		if !p.seen[id].fresh(now) {
			ask = append(ask, arn)
		}
	}
	slices.Sort(ask)
	return ask
}

// examine describes tasks and says of each whether and where it is reached.
func (p *Provider) examine(ctx context.Context, arns []string) error {
	if len(arns) == 0 {
		return nil
	}
	if err := p.learnOwn(ctx); err != nil {
		return err
	}
	if err := p.spread(ctx, len(arns)); err != nil {
		return err
	}
	p.learnMode(ctx)
	var news troubles
	defer func() { p.warn(news) }()
	for chunk := range slices.Chunk(arns, pageSize) {
		found, missing, err := p.describe(ctx, p.cluster, chunk)
		if err != nil {
			return err
		}
		for _, id := range missing {
			p.remember(id, peer{reason: reasonMissing}, &news)
		}
		if err := p.place(ctx, found, &news); err != nil {
			return err
		}
	}
	return nil
}

// place says of every task of found whether and where it is reached.
func (p *Provider) place(ctx context.Context, found map[string]types.Task, news *troubles) error {
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
		made := p.peerFrom(s)
		if !p.cfg.SkipUnhealthy { // else each is looked at each time
			made.keep(s, p.seen[id], time.Now())
		}
		p.remember(id, made, news)
	}
	return nil
}

// peerFrom completes a sighting by the address of the host.
func (p *Provider) peerFrom(s sighting) peer {
	made := peer{rank: s.rank, started: s.started, instance: s.instance, reason: s.reason, refused: s.refused}
	if s.instance != "" {
		if s.ip = p.host[s.instance]; !s.ip.IsValid() {
			made.refused = noHostAddress(s.instance)
		}
	}
	switch {
	case made.refused != nil:
		made.reason = reasonUnreachable
	case s.ip.IsValid():
		made.addr = netip.AddrPortFrom(s.ip, uint16(s.port))
	}
	return made
}

// checkList refuses a list of which no task can be described.
func (p *Provider) checkList() error {
	for _, peer := range p.seen {
		if peer.reason != reasonMissing {
			return nil
		}
	}
	if len(p.seen) == 0 {
		return nil
	}
	c := call{action: actionDescribeTasks, cluster: p.cluster, region: p.api.region}
	return fmt.Errorf("%w: %v: none of the %d listed tasks can be described", ErrTemporary, c, len(p.seen))
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

const (
	spreadFrom = 25                    // tasks; fewer fit into the account's burst if all start at once
	spreadEach = 20 * time.Millisecond // for each task
	spreadMost = 5 * time.Second
)

// spread waits a random time before the first description of many tasks, since
// they may all have started at the same moment and ask the same.
func (p *Provider) spread(ctx context.Context, tasks int) error {
	if p.polls.Load() > 0 || tasks < spreadFrom {
		return nil
	}
	most := min(spreadMost, time.Duration(tasks)*spreadEach)
	switch err := p.sleep(ctx, rand.N(most)); {
	case errors.Is(err, errSlow):
		return fmt.Errorf("%w: waiting to describe %d tasks: %w", ErrTemporary, tasks, err)
	case err != nil:
		return fmt.Errorf("ecs: waiting to describe %d tasks: %w", tasks, err)
	}
	return nil
}
