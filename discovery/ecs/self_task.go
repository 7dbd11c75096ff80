package ecs

import (
	"context"
	"fmt"
	"strings"

	"github.com/runrig-go/runrig/discovery"
)

// ownTask is what the API says about the task this process runs in.
type ownTask struct {
	described Task
	instance  string    // ARN of the container instance, "" on Fargate
	bindings  []binding // of this container, as far as there were any then
	runs      bool      // for ECS; before it, much is missing
}

// describeOwn asks the API about this task, once: what tells it from others
// does not change.
func (p *Provider) describeOwn(ctx context.Context) (ownTask, error) {
	if p.own != nil {
		return *p.own, nil
	}
	return p.describeOwnAgain(ctx)
}

// describeOwnAgain is for what may have been missing at first.
func (p *Provider) describeOwnAgain(ctx context.Context) (ownTask, error) {
	if p.away() {
		return ownTask{}, discovery.Misconfigured(fmt.Errorf("ecs: the own task %s is not known in %s, which is asked; let a Provider of its own account and region tell",
			p.task.ARN, p.where()))
	}
	if err := p.api.ready(ctx); err != nil {
		return ownTask{}, err
	}
	found, _, err := p.describe(ctx, p.task.Cluster, []string{p.task.ARN})
	if err != nil {
		return ownTask{}, fmt.Errorf("describing the own task: %w", err)
	}
	t, ok := found[p.task.ID]
	if !ok {
		return ownTask{}, fmt.Errorf("%w: own task %s is not among those described", ErrTemporary, p.task.ARN)
	}
	p.account = p.arn.account
	p.own = &ownTask{
		described: taskOf(t),
		instance:  text(t.ContainerInstanceArn),
		bindings:  mappingsOf(t, p.task.Container).named,
		runs:      rank(strings.ToUpper(text(t.LastStatus))) == 0,
	}
	p.publish()
	return *p.own, nil
}

// learn takes what the metadata say now, which may be more than before.
func (p *Provider) learn(m metadata) error {
	task, err := m.identity()
	if err != nil {
		return err
	}
	p.meta, p.task = m, task
	p.publish()
	return nil
}

// learnMode reads the metadata again while they do not tell the own network
// mode, so that others of the own kind are known for what they are. Without it
// they are, once they run.
func (p *Provider) learnMode(ctx context.Context) {
	if p.task.NetworkMode != "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	m, err := p.endpoint.fetch(ctx)
	if err == nil {
		err = p.learn(m)
	}
	p.cfg.Logger.Debug("network mode of the own task", "mode", p.task.NetworkMode, "err", err)
}

// publish brings up to date what Task returns.
func (p *Provider) publish() {
	known := p.task
	if p.own != nil {
		known = known.completedBy(p.own.described)
	}
	p.known.Store(&known)
}
