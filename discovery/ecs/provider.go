package ecs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/discovery"
)

// Provider finds the tasks of one or more ECS services. Its methods may be
// called concurrently; they take turns. It has nothing to close and starts no
// goroutine.
type Provider struct {
	cfg      Config
	env      func(string) string
	arn      taskARN // of the own task
	rule     addressRule
	endpoint metadataClient
	api      api
	cluster  string // to look in

	sleep func(context.Context, time.Duration) error

	policyShown atomic.Bool
	known       atomic.Pointer[Task] // as Task tells it
	polls       atomic.Uint64        // that have ended

	turn     chan struct{} // holds one token; whoever took it may use what follows
	meta     metadata
	task     Task            // as meta tells it
	account  string          // that is asked, "" while it is not known
	self     *discovery.Self // once known
	own      *ownTask        // once described
	want     []selection     // once known
	seen     map[string]peer // by id of the tasks last listed: what is known about them
	missing  []string        // services that do not exist
	selfSeen bool            // and whether the own task was listed
	failure  error           // of the last poll
	told     string          // the last summary that was logged
	refusing refusing
	host     map[string]netip.Addr // by ARN of the container instance
}

var (
	_ discovery.Provider   = (*Provider)(nil)
	_ discovery.Identifier = (*Provider)(nil)
)

// New makes a Provider for the task this process runs in. It reads the task's
// metadata, for which it waits until ctx ends at most (usually some
// milliseconds, about five seconds when the endpoint does not answer), and
// makes no call of the ECS API. ctx does not bound the life of the Provider.
//
// The error is ErrNotOnECS, as a rule at once, outside of ECS; ErrTemporary when the
// metadata endpoint failed, so that it is worth trying again; ErrNoRegion or
// ErrNoCredentials when the AWS configuration cannot be used; else it names the
// field of cfg that is wrong.
func New(ctx context.Context, cfg Config) (*Provider, error) {
	return newProvider(ctx, cfg, os.Getenv)
}

func newProvider(ctx context.Context, cfg Config, env func(string) string) (*Provider, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	at, err := findEndpoint(cfg.MetadataURL, env)
	if err != nil {
		return nil, err
	}
	p := &Provider{
		cfg:      cfg,
		env:      env,
		rule:     addressRule{loopback: at.onLoopback()},
		endpoint: newMetadataClient(at),
		sleep:    sleep,
		turn:     make(chan struct{}, 1),
		seen:     map[string]peer{},
		host:     map[string]netip.Addr{},
	}
	p.turn <- struct{}{}
	m, err := p.endpoint.fetch(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.learn(m); err != nil {
		return nil, err
	}
	if p.arn, err = parseTaskARN(p.task.ARN); err != nil {
		return nil, err
	}
	p.account = settledAccount(cfg, p.arn)
	if p.cluster = cfg.Cluster; p.cluster == "" {
		p.cluster = p.task.Cluster
	}
	if p.api, err = newAPI(ctx, cfg, env, p.arn, p.task.ARN); err != nil {
		return nil, err
	}
	return p, nil
}

// Task returns what is known about the task this process runs in: what the
// metadata said and, once Peers or Self needed to ask the API about it, what
// that said. It does not wait.
func (p *Provider) Task() Task { return p.known.Load().clone() }

// take waits for the turn and returns how to give it back.
func (p *Provider) take(ctx context.Context) (giveBack func(), err error) {
	if p == nil {
		return nil, errNil
	}
	select {
	case <-p.turn:
		return func() { p.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("ecs: waiting for another call to end: %w", context.Cause(ctx))
	}
}

var errNil = discovery.Misconfigured(errors.New("ecs: the Provider is nil; see the error of New"))
