package ecs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
)

// attributeIP is the custom attribute of a container instance that gives its
// address. ECS itself has none, and the call that has (ec2:DescribeInstances)
// would need another SDK and permission.
const attributeIP = "private-ip"

func noHostAddress(instance string) error {
	return fmt.Errorf("%w: container instance %s has no usable attribute %q; put ECS_INSTANCE_ATTRIBUTES={%q:\"10.0.1.9\"} with its own address into "+
		"its /etc/ecs/ecs.config, or set Config.HostIP, or use network mode awsvpc", ErrNoAddress, instance, attributeIP, attributeIP)
}

// resolveHosts fills p.host for these container instances of a cluster, as far
// as their addresses can be found. An address never changes while the instance
// lives.
func (p *Provider) resolveHosts(ctx context.Context, cluster string, instances []string) error {
	unknown := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(instances))), func(arn string) bool {
		return p.host[arn].IsValid()
	})
	if p.cfg.HostIP != nil {
		return p.askHostIP(ctx, unknown)
	}
	for chunk := range slices.Chunk(unknown, pageSize) {
		if err := p.readAttributes(ctx, cluster, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (p *Provider) askHostIP(ctx context.Context, instances []string) error {
	for _, arn := range instances {
		ip, err := p.cfg.HostIP(ctx, arn)
		if err != nil {
			return fmt.Errorf("ecs: Config.HostIP for %s: %w", arn, err)
		}
		if !p.rule.usable(ip.Unmap()) {
			return fmt.Errorf("%w: Config.HostIP gave %q for %s, which other tasks cannot reach", ErrNoAddress, ip, arn)
		}
		p.host[arn] = ip.Unmap()
	}
	return nil
}

func (p *Provider) readAttributes(ctx context.Context, cluster string, instances []string) error {
	if err := p.api.ready(ctx); err != nil {
		return err
	}
	c := call{action: actionDescribeInstances, cluster: cluster, region: p.api.region}
	out, err := p.api.describeInstances(ctx, &awsecs.DescribeContainerInstancesInput{
		Cluster: aws.String(cluster), ContainerInstances: instances,
	})
	if err != nil {
		return p.failed(ctx, c, err)
	}
	if got := len(out.ContainerInstances) + len(out.Failures); got < len(instances) {
		return fmt.Errorf("%w: %v: asked for %d container instances, got %d and failures", ErrTemporary, c, len(instances), got)
	}
	for _, f := range out.Failures {
		p.cfg.Logger.Debug("container instance left out", "instance", text(f.Arn), "reason", text(f.Reason))
	}
	for _, instance := range out.ContainerInstances {
		for _, a := range instance.Attributes {
			if !strings.EqualFold(aws.ToString(a.Name), attributeIP) {
				continue
			}
			if ip, ok := p.rule.first(aws.ToString(a.Value)); ok {
				p.host[aws.ToString(instance.ContainerInstanceArn)] = ip
			}
		}
	}
	return nil
}
