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
	pageSize  = 100    // the API's largest, for lists and for descriptions
	taskLimit = 10_000 // more than any service can have: 5,000 are AWS's own limit
)

// list returns the ARNs of the tasks that are to run and that s selects, all
// pages of them.
func (p *Provider) list(ctx context.Context, s selection) ([]string, error) {
	c := call{actionListTasks, p.cluster, s.service, p.api.region}
	if err := p.elsewhere(s.service); err != nil {
		return nil, err
	}
	in := &awsecs.ListTasksInput{
		Cluster:       aws.String(p.cluster),
		DesiredStatus: types.DesiredStatusRunning, // includes those that are only starting
		MaxResults:    aws.Int32(pageSize),
	}
	if s.service != "" {
		in.ServiceName = aws.String(s.service)
	}
	if s.family != "" {
		in.Family = aws.String(s.family)
	}
	var arns []string
	for {
		out, err := p.api.listTasks(ctx, in)
		if err != nil {
			return nil, p.failed(ctx, c, err)
		}
		if out.TaskArns == nil {
			return nil, fmt.Errorf("%w: %v: the answer has no taskArns, so it is not from ECS", ErrTemporary, c)
		}
		if arns, err = appendTasks(arns, out.TaskArns); err != nil {
			return nil, fmt.Errorf("%w: %v: %w", ErrTemporary, c, err)
		}
		switch text(out.NextToken) {
		case "":
			return arns, nil
		case text(in.NextToken):
			return nil, fmt.Errorf("%w: %v: the pages do not end: the token of the next one is that of this", ErrTemporary, c)
		}
		in.NextToken = out.NextToken
	}
}

// appendTasks appends a page to a list, if it is one of tasks.
func appendTasks(arns, page []string) ([]string, error) {
	for _, arn := range page {
		if _, err := parseTaskARN(arn); err != nil {
			return nil, err
		}
	}
	if len(arns)+len(page) > taskLimit {
		return nil, fmt.Errorf("more than %d tasks", taskLimit)
	}
	return append(arns, page...), nil
}

// describe returns the tasks with these ARNs, by id, and the ids of those that
// AWS does not know any more, or not yet.
func (p *Provider) describe(ctx context.Context, cluster string, arns []string) (found map[string]types.Task, missing []string, err error) {
	c := call{action: actionDescribeTasks, cluster: cluster, region: p.api.region}
	found = make(map[string]types.Task, len(arns))
	in := &awsecs.DescribeTasksInput{Cluster: aws.String(cluster)}
	if len(p.cfg.Tags) > 0 || p.cfg.Filter != nil {
		in.Include = []types.TaskField{types.TaskFieldTags}
	}
	for in.Tasks = range slices.Chunk(arns, pageSize) {
		out, err := p.api.describeTasks(ctx, in)
		if err != nil {
			return nil, nil, p.failed(ctx, c, err)
		}
		lacking := take(found, in.Tasks, out.Tasks)
		if len(lacking) > len(out.Failures) {
			return nil, nil, fmt.Errorf("%w: %v: asked for %d tasks, got %d and %d failures",
				ErrTemporary, c, len(in.Tasks), len(in.Tasks)-len(lacking), len(out.Failures))
		}
		missing = append(missing, lacking...)
	}
	return found, missing, nil
}

// take adds to found those of tasks that were asked for, and returns the ids of
// the others asked for.
func take(found map[string]types.Task, asked []string, tasks []types.Task) (lacking []string) {
	described := make(map[string]types.Task, len(tasks))
	for _, t := range tasks {
		described[lastPart(text(t.TaskArn))] = t
	}
	for _, arn := range asked {
		id := lastPart(arn)
		if t, ok := described[id]; ok {
			found[id] = t
		} else {
			lacking = append(lacking, id)
		}
	}
	return lacking
}

// failed makes the error of a failed call, and shows the policy that is missing
// the first time.
func (p *Provider) failed(ctx context.Context, c call, err error) error {
	err = c.classify(ctx, err)
	p.showPolicy(c, err)
	return err
}
