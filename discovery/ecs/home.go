package ecs

import (
	"fmt"
	"log/slog"
	"strings"
)

// The API that is asked is that of one account in one region. It knows the own
// task only if that is its home: a cluster and a service of the same names may
// be in another account or region, too.

// settledAccount is the account that cfg says is asked, "" if it does not:
// Config.AWS may be of any, unless it is for the task's own cluster.
func settledAccount(cfg Config, own taskARN) string {
	switch {
	case strings.HasPrefix(cfg.Cluster, "arn:"):
		return arnField(cfg.Cluster, 4)
	case cfg.AWS == nil || cfg.Cluster == "":
		return own.account
	}
	return ""
}

// arnField is the n-th of the fields of an ARN, arn:PARTITION:SERVICE:REGION:
// ACCOUNT:RESOURCE, counted from 0, and "" where there is none.
func arnField(arn string, n int) string {
	if fields := strings.SplitN(arn, ":", 6); n < len(fields) {
		return fields[n]
	}
	return ""
}

// learnAccount takes the account from what was listed, which knows best.
func (p *Provider) learnAccount(listed map[string]string) {
	for _, arn := range listed {
		account := arnField(arn, 4)
		if account == p.account || account == "" {
			return
		}
		if p.account = account; p.cfg.Cluster == "" {
			p.cfg.Logger.Warn("account to ask differs from the account of the task",
				slog.String("account", account), slog.String("task", p.task.ARN))
		}
		return
	}
}

// atHome reports whether the API that is asked is known to be the one that
// knows the own task, away whether it is known not to be. While the account is
// not known it is neither.
func (p *Provider) atHome() bool {
	return p.arn.region == p.api.region && p.arn.account == p.account
}

func (p *Provider) away() bool {
	return p.arn.region != p.api.region || p.account != "" && p.arn.account != p.account
}

// where names the account and region that are asked, for errors.
func (p *Provider) where() string {
	if p.account == "" {
		return fmt.Sprintf("region %q", p.api.region)
	}
	return fmt.Sprintf("account %q, region %q", p.account, p.api.region)
}

// elsewhere says whether a service was named by an ARN of another cluster or
// region than those that are asked. The API would say no more than that it does
// not find it.
func (p *Provider) elsewhere(service string) error {
	_, path, ok := strings.Cut(service, ":service/")
	if !ok {
		return nil
	}
	const remedy = "one Provider asks one cluster: set Config.Cluster and Region to that of the service, or make a Provider for each and discovery.Merge them"
	if region := arnField(service, 3); region != p.api.region {
		return fmt.Errorf("%w: Config.Services has %q, of region %q, while region %q is asked; %s", ErrServiceNotFound, service, region, p.api.region, remedy)
	}
	if cluster, _, long := strings.Cut(path, "/"); long && cluster != lastPart(p.cluster) {
		return fmt.Errorf("%w: Config.Services has %q, of cluster %q, while cluster %q is asked; %s", ErrServiceNotFound, service, cluster, p.cluster, remedy)
	}
	return nil
}
