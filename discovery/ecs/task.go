package ecs

import (
	"fmt"
	"strings"
)

// Task is what the metadata endpoint says about the task this process runs in. What it does not
// say is "".
type Task struct {
	ID          string // last part of the ARN; never used again for another task
	ARN         string
	Cluster     string // name or ARN, as the metadata has it
	Service     string // only newer agents on EC2 say it; the API is asked otherwise
	Family      string // of the task definition
	Zone        string // availability zone
	LaunchType  string // "FARGATE", "EC2", "EXTERNAL", "MANAGED_INSTANCES"
	NetworkMode string // "awsvpc", "bridge", "host", in lower case
	Container   string // name of the container this process runs in
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

// taskARN are the parts of arn:PARTITION:ecs:REGION:ACCOUNT:task/CLUSTER/ID, or of the older form
// without cluster. Both are in use, and one task may be seen under both: compare ids.
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

// lastPart is what follows the last slash: the id of a task's ARN, the name in a cluster's.
func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
