package ecs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/runrig-go/runrig/discovery"
)

// Why a task is left out, as the log and Result.Skipped say.
const (
	reasonLeaving     = "it is stopping"
	reasonNoAddress   = "it has no address yet"
	reasonMissing     = "it cannot be described"
	reasonTags        = "it has other tags"
	reasonDeployment  = "it is of another deployment"
	reasonFilter      = "Config.Filter refused it"
	reasonUnhealthy   = "it is unhealthy"
	reasonUnreachable = "it cannot be reached"
)

// choose says why t is not wanted, "" if it is.
func (p *Provider) choose(t types.Task) (reason string) {
	if p.cfg.SkipUnhealthy && t.HealthStatus == types.HealthStatusUnhealthy {
		return reasonUnhealthy
	}
	if len(p.cfg.Tags) == 0 && !p.cfg.SameDeployment && p.cfg.Filter == nil {
		return ""
	}
	other := taskOf(t)
	for key, value := range p.cfg.Tags {
		if has, ok := other.Tags[key]; !ok || has != value {
			return reasonTags
		}
	}
	own := p.Task()
	switch {
	case p.cfg.SameDeployment && other.Deployment != own.Deployment:
		return reasonDeployment
	case p.cfg.Filter != nil && !p.cfg.Filter(own, other):
		return reasonFilter
	}
	return ""
}

// learnOwn asks the API about the own task if others are compared with it. The
// API of another account or region does not know it, so that there is only what
// the metadata said.
func (p *Provider) learnOwn(ctx context.Context) error {
	switch {
	case !p.cfg.SameDeployment && p.cfg.Filter == nil:
		return nil
	case p.atHome():
		_, err := p.describeOwn(ctx)
		return err
	case p.cfg.SameDeployment:
		return discovery.Misconfigured(fmt.Errorf("ecs: Config.SameDeployment is set, but the deployment of the own task %s is not known in %s; use Tags or Filter there",
			p.task.ARN, p.where()))
	}
	return nil
}
