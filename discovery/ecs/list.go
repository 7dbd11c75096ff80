package ecs

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

const (
	pageSize  = 100 // the API's largest, for lists and for descriptions
	pageLimit = 100 // more pages than any service can have: 5,000 tasks are AWS's own limit
)

// list returns the ARNs of the tasks that are to run and that s selects, all pages of them.
func (p *Provider) list(ctx context.Context, s selection) ([]string, error) {
	c := call{actionListTasks, p.cluster, s.service, p.api.region}
	in := &awsecs.ListTasksInput{
		Cluster:       aws.String(p.cluster),
		DesiredStatus: types.DesiredStatusRunning, // includes those that are only starting
		MaxResults:    aws.Int32(pageSize),
	}
	if s.service != "" {
		in.ServiceName = aws.String(s.service)
	} else {
		in.Family = aws.String(s.family)
	}
	var arns []string
	for range pageLimit {
		out, err := p.api.listTasks(ctx, in)
		if err != nil {
			return nil, p.failed(ctx, c, err)
		}
		if out.TaskArns == nil {
			return nil, fmt.Errorf("%w: %v: the answer has no taskArns, so it is not from ECS", ErrTemporary, c)
		}
		arns = append(arns, out.TaskArns...)
		if text(out.NextToken) == "" {
			return arns, nil
		}
		in.NextToken = out.NextToken
	}
	return nil, fmt.Errorf("%w: %v: more than %d pages", ErrTemporary, c, pageLimit)
}

// describe returns the tasks with these ARNs, by id. One that AWS no longer knows is left out;
// if it knows none of them, the list was not worth anything and it is an error.
func (p *Provider) describe(ctx context.Context, cluster string, arns []string) (map[string]types.Task, error) {
	c := call{action: actionDescribeTasks, cluster: cluster, region: p.api.region}
	found := make(map[string]types.Task, len(arns))
	for chunk := range slices.Chunk(arns, pageSize) {
		out, err := p.api.describeTasks(ctx, &awsecs.DescribeTasksInput{Cluster: aws.String(cluster), Tasks: chunk})
		if err != nil {
			return nil, p.failed(ctx, c, err)
		}
		before := len(found)
		for _, t := range out.Tasks {
			if id := lastPart(text(t.TaskArn)); id != "" {
				found[id] = t
			}
		}
		if got := len(found) - before; got+len(out.Failures) < len(chunk) {
			return nil, fmt.Errorf("%w: %v: asked for %d tasks, got %d and %d failures", ErrTemporary, c, len(chunk), got, len(out.Failures))
		}
		for _, f := range out.Failures {
			p.cfg.Logger.Debug("task left out", "task", lastPart(text(f.Arn)), "reason", text(f.Reason))
		}
	}
	if len(arns) > 0 && len(found) == 0 {
		return nil, fmt.Errorf("%w: %v: none of the %d listed tasks can be described", ErrTemporary, c, len(arns))
	}
	return found, nil
}

// failed makes the error of a failed call, and shows the policy that is missing the first time.
func (p *Provider) failed(ctx context.Context, c call, err error) error {
	err = c.classify(ctx, err)
	p.showPolicy(c, err)
	return err
}
