package ecs

import (
	"context"
	"fmt"
	"strings"
)

// selection is what one series of ListTasks asks for: exactly one field is set.
type selection struct{ service, family string }

// selections says what to list: what is configured, else the own service, else the own family.
func (p *Provider) selections(ctx context.Context) ([]selection, error) {
	if p.want != nil {
		return p.want, nil
	}
	var want []selection
	for _, name := range p.cfg.Services {
		want = append(want, selection{service: name})
	}
	for _, name := range p.cfg.Families {
		want = append(want, selection{family: name})
	}
	if want == nil {
		one, err := p.ownSelection(ctx)
		if err != nil {
			return nil, err
		}
		want = []selection{one}
	}
	p.want = want
	return want, nil
}

func (p *Provider) ownSelection(ctx context.Context) (selection, error) {
	if p.task.Service != "" {
		return selection{service: p.task.Service}, nil
	}
	own, err := p.describeOwn(ctx)
	if err != nil {
		return selection{}, err
	}
	if service, ok := strings.CutPrefix(own.group, "service:"); ok && service != "" {
		return selection{service: service}, nil
	}
	if p.task.Family == "" {
		return selection{}, fmt.Errorf("%w: task %s is in group %q and has no family; set Config.Services", ErrServiceNotFound, p.task.ARN, own.group)
	}
	p.cfg.Logger.Info("task belongs to no service, looking for tasks of its family", "family", p.task.Family, "group", own.group)
	return selection{family: p.task.Family}, nil
}

// ownTask is what the API says about the task this process runs in.
type ownTask struct {
	group    string // "service:NAME", or "family:NAME" for a task of no service
	instance string // ARN of the container instance, "" on Fargate
}

// describeOwn asks the API about this task, once.
func (p *Provider) describeOwn(ctx context.Context) (ownTask, error) {
	if p.own != nil {
		return *p.own, nil
	}
	if err := p.api.ready(ctx); err != nil {
		return ownTask{}, err
	}
	found, err := p.describe(ctx, p.task.Cluster, []string{p.task.ARN})
	if err != nil {
		return ownTask{}, fmt.Errorf("describing the own task: %w", err)
	}
	t, ok := found[p.task.ID]
	if !ok {
		return ownTask{}, fmt.Errorf("%w: own task %s is not among those described", ErrTemporary, p.task.ARN)
	}
	p.own = &ownTask{group: text(t.Group), instance: text(t.ContainerInstanceArn)}
	return *p.own, nil
}
