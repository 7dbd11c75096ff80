package ecs

import (
	"cmp"
	"fmt"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// servicePrefix begins the group of a service's tasks.
const servicePrefix = "service:"

// Task is what is known about a task: about the own one from its metadata and,
// once the API was asked, from its description; about others from their
// descriptions. What is not known is "".
type Task struct {
	ID          string // last part of the ARN; never used again for another task
	ARN         string
	Cluster     string            // name or ARN, as it was told
	Service     string            // the name; "" for a task of no service
	Group       string            // "service:NAME", else as RunTask was told, usually "family:NAME"
	Family      string            // of the task definition
	Definition  string            // ARN of the task definition, with its revision
	Deployment  string            // what started the task (startedBy): "ecs-svc/…" for a deployment of a service
	Zone        string            // availability zone
	LaunchType  string            // "FARGATE", "EC2", "EXTERNAL", "MANAGED_INSTANCES"
	NetworkMode string            // "awsvpc", "bridge", "host", in lower case; only of the own task
	Container   string            // name of the container this process runs in; only of the own task
	Tags        map[string]string // only with Config.Tags or Config.Filter
}

func (m metadata) identity() (Task, error) {
	arn, err := parseTaskARN(m.task.TaskARN)
	if err != nil {
		return Task{}, err
	}
	if m.task.Cluster == "" {
		return Task{}, fmt.Errorf("ecs: metadata of task %s has no Cluster", m.task.TaskARN)
	}
	return Task{
		ID:          arn.id,
		ARN:         m.task.TaskARN,
		Cluster:     m.task.Cluster,
		Service:     m.task.ServiceName,
		Family:      m.task.Family,
		Zone:        m.task.AvailabilityZone,
		LaunchType:  m.task.LaunchType,
		NetworkMode: m.networkMode(),
		Container:   m.container.Name,
	}, nil
}

// taskOf is the task that t describes.
func taskOf(t types.Task) Task {
	task := Task{
		ID:         lastPart(text(t.TaskArn)),
		ARN:        text(t.TaskArn),
		Cluster:    text(t.ClusterArn),
		Group:      text(t.Group),
		Definition: text(t.TaskDefinitionArn),
		Deployment: text(t.StartedBy),
		Zone:       text(t.AvailabilityZone),
		LaunchType: string(t.LaunchType),
		Tags:       make(map[string]string, len(t.Tags)),
	}
	task.Service, _ = strings.CutPrefix(task.Group, servicePrefix)
	if task.Service == task.Group {
		task.Service = ""
	}
	task.Family, _, _ = strings.Cut(lastPart(task.Definition), ":")
	for _, tag := range t.Tags {
		task.Tags[text(tag.Key)] = text(tag.Value)
	}
	return task
}

// completedBy adds to what the metadata said what the description says.
func (t Task) completedBy(described Task) Task {
	t.Service = cmp.Or(t.Service, described.Service)
	t.Family = cmp.Or(t.Family, described.Family)
	t.Zone = cmp.Or(t.Zone, described.Zone)
	t.LaunchType = cmp.Or(t.LaunchType, described.LaunchType)
	t.Group, t.Definition, t.Deployment, t.Tags = described.Group, described.Definition, described.Deployment, described.Tags
	return t
}

// clone is a copy that its receiver may change.
func (t Task) clone() Task {
	t.Tags = maps.Clone(t.Tags)
	return t
}

// taskARN are the parts of arn:PARTITION:ecs:REGION:ACCOUNT:task/CLUSTER/ID, or
// of the older form without cluster. Both are in use, and one task may be seen
// under both: compare ids.
type taskARN struct {
	partition, region, account, id string
}

func parseTaskARN(s string) (taskARN, error) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "ecs" || !strings.HasPrefix(parts[5], "task/") {
		return taskARN{}, fmt.Errorf("ecs: %q is no ARN of a task (arn:aws:ecs:REGION:ACCOUNT:task/CLUSTER/ID)", s)
	}
	id := lastPart(parts[5])
	if id == "" {
		return taskARN{}, fmt.Errorf("ecs: task ARN %q has no id", s)
	}
	return taskARN{partition: parts[1], region: parts[3], account: parts[4], id: id}, nil
}

// lastPart is what follows the last slash: the id of a task's ARN, the name in
// a cluster's.
func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
