package ecs

import (
	"context"
	"fmt"
)

// selection is what one series of ListTasks asks for: one field is set, or none
// for the whole cluster.
type selection struct{ service, family string }

// selections says what to list: what is configured, else the own service, else
// the own family.
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
	if p.cfg.WholeCluster {
		want = []selection{{}}
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
	if own.task.Service != "" {
		return selection{service: own.task.Service}, nil
	}
	if p.task.Family == "" {
		return selection{}, fmt.Errorf("%w: task %s is in group %q and has no family; set Config.Services", ErrServiceNotFound, p.task.ARN, own.task.Group)
	}
	p.cfg.Logger.Info("task belongs to no service, looking for tasks of its family", "family", p.task.Family, "group", own.task.Group)
	return selection{family: p.task.Family}, nil
}

// expectsSelf reports whether what is listed should have the own task.
func (p *Provider) expectsSelf(ctx context.Context, listed []selection) (bool, error) {
	if lastPart(p.cluster) != lastPart(p.task.Cluster) || !p.atHome() {
		return false, nil
	}
	for _, s := range listed {
		switch {
		case s.family != "" && s.family != p.task.Family:
			continue
		case s.service == "":
			return true, nil
		}
		own, err := p.ownService(ctx)
		if err != nil || own == lastPart(s.service) {
			return true, err
		}
	}
	return false, nil
}

// ownService is the service of the own task, by the metadata or else by the API.
func (p *Provider) ownService(ctx context.Context) (string, error) {
	if p.task.Service != "" {
		return lastPart(p.task.Service), nil
	}
	own, err := p.describeOwn(ctx)
	return own.task.Service, err
}

// atHome reports whether the API that is asked is the one that knows the own
// task.
func (p *Provider) atHome() bool {
	arn, err := parseTaskARN(p.task.ARN)
	return err == nil && arn.region == p.api.region
}

// ownTask is what the API and the metadata say about the task this process runs
// in.
type ownTask struct {
	task     Task
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
	found, _, err := p.describe(ctx, p.task.Cluster, []string{p.task.ARN})
	if err != nil {
		return ownTask{}, fmt.Errorf("describing the own task: %w", err)
	}
	t, ok := found[p.task.ID]
	if !ok {
		return ownTask{}, fmt.Errorf("%w: own task %s is not among those described", ErrTemporary, p.task.ARN)
	}
	p.own = &ownTask{task: p.task.completedBy(taskOf(t)), instance: text(t.ContainerInstanceArn)}
	p.known.Store(&p.own.task)
	return *p.own, nil
}
