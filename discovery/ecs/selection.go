package ecs

import (
	"context"
	"errors"
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
	if _, err := p.describeOwn(ctx); err != nil {
		return selection{}, fmt.Errorf("finding the own service, since Config.Services and Families are empty: %w", err)
	}
	own := p.Task()
	if own.Service != "" {
		return selection{service: own.Service}, nil
	}
	if p.task.Family == "" {
		return selection{}, fmt.Errorf("%w: task %s is in group %q and has no family; set Config.Services", ErrServiceNotFound, p.task.ARN, own.Group)
	}
	p.cfg.Logger.Info("task belongs to no service, looking for tasks of its family", "family", p.task.Family, "group", own.Group)
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

// listEach lists all that is wanted. A service that does not exist has no tasks
// as yet, and hides those of others no more than one that is scaled to zero; but
// if none exists that is an error.
func (p *Provider) listEach(ctx context.Context, want []selection) (map[string]string, error) {
	listed := map[string]string{}
	var missing []string
	var errs []error
	for _, s := range want {
		arns, err := p.list(ctx, s)
		switch {
		case errors.Is(err, ErrServiceNotFound):
			missing, errs = append(missing, s.service), append(errs, err)
		case err != nil:
			return nil, err
		}
		for _, arn := range arns {
			listed[lastPart(arn)] = arn
		}
	}
	if len(missing) == len(want) {
		return nil, errors.Join(errs...)
	}
	p.tellMissing(missing, errors.Join(errs...))
	return listed, nil
}

// ownService is the service of the own task, by the metadata or else by the API.
func (p *Provider) ownService(ctx context.Context) (string, error) {
	if p.task.Service != "" {
		return lastPart(p.task.Service), nil
	}
	_, err := p.describeOwn(ctx)
	return p.Task().Service, err
}
