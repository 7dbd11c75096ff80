package ecstest

import (
	"net/netip"
	"strconv"
	"time"
)

// describe is the task as DescribeTasks shows it. fake.mu is held.
func (t *Task) describe(tags bool) map[string]any {
	doc := map[string]any{
		"attachments":          t.attachments(),
		"attributes":           []any{map[string]any{"name": "ecs.cpu-architecture", "value": "x86_64"}},
		"availabilityZone":     t.cfg.Zone,
		"clusterArn":           t.fake.arn("cluster/" + t.cluster.name),
		"connectivity":         "CONNECTED",
		"containers":           t.containers(),
		"cpu":                  "256",
		"createdAt":            epoch(t.created),
		"desiredStatus":        desired(t.status()),
		"enableExecuteCommand": false,
		"group":                t.group(),
		"healthStatus":         t.health,
		"lastStatus":           t.status(),
		"launchType":           t.cfg.LaunchType,
		"memory":               "512",
		"overrides":            map[string]any{"containerOverrides": []any{}},
		"tags":                 t.tags(tags),
		"taskArn":              t.ARN(),
		"taskDefinitionArn":    t.fake.arn("task-definition/" + t.cfg.Family + ":" + strconv.Itoa(t.cfg.Revision)),
		"version":              1,
	}
	if t.cfg.StartedBy != "" {
		doc["startedBy"] = t.cfg.StartedBy
	}
	if at := t.startedAt(); !at.IsZero() {
		doc["startedAt"] = epoch(at)
	}
	if t.instance != nil {
		doc["containerInstanceArn"] = t.instance.arn
	}
	if t.cfg.EditTask != nil {
		t.cfg.EditTask(doc)
	}
	return doc
}

func (t *Task) startedAt() time.Time {
	if !t.cfg.StartedAt.IsZero() {
		return t.cfg.StartedAt
	}
	return t.line.started(t.fake.cfg.Now())
}

// tags are shown only to who asks for them.
func (t *Task) tags(asked bool) []any {
	tags := []any{}
	if asked {
		for key, value := range t.cfg.Tags {
			tags = append(tags, map[string]any{"key": key, "value": value})
		}
	}
	return tags
}

// epoch is a time as AWS JSON has it: seconds.
func epoch(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

func (t *Task) group() string {
	if t.cfg.Service != "" {
		return "service:" + t.cfg.Service
	}
	return "family:" + t.cfg.Family
}

// addressed says whether the network interface has its address already.
func (t *Task) addressed() bool { return t.status() != "PROVISIONING" }

// statusOf is the state of a container.
func (t *Task) statusOf(container string) string {
	if status := t.status(); status != "ACTIVATING" {
		return status
	}
	if t.cfg.StartsLast && container == t.cfg.Container {
		return "PENDING"
	}
	return "RUNNING"
}

// runs says whether a container has been started.
func (t *Task) runs(container string) bool {
	status := t.statusOf(container)
	return status != "PROVISIONING" && status != "PENDING"
}

func (t *Task) isIPv6() bool {
	ip, err := netip.ParseAddr(t.cfg.Address)
	return err == nil && ip.Is6()
}

func (t *Task) attachments() []any {
	if t.cfg.NetworkMode != "awsvpc" {
		return []any{}
	}
	if !t.addressed() {
		return []any{map[string]any{
			"id": t.eni, "type": "ElasticNetworkInterface", "status": "PRECREATED",
			"details": []any{detail("subnetId", "subnet-0a1b2c3d4e5f60718")},
		}}
	}
	name := "privateIPv4Address"
	if t.isIPv6() {
		name = "privateIPv6Address"
	}
	return []any{map[string]any{
		"id": t.eni, "type": "ElasticNetworkInterface", "status": "ATTACHED",
		"details": []any{
			detail("subnetId", "subnet-0a1b2c3d4e5f60718"),
			detail("networkInterfaceId", "eni-"+t.eni[:17]),
			detail("macAddress", "0e:9f:3a:bc:de:01"),
			detail(name, t.cfg.Address),
		},
	}}
}

func detail(name, value string) map[string]any { return map[string]any{"name": name, "value": value} }

func (t *Task) containers() []any {
	var all []any
	for _, name := range append(append([]string{}, t.cfg.Sidecars...), t.cfg.Container) {
		c := map[string]any{
			"containerArn":      t.fake.arn("container/" + t.cluster.name + "/" + t.id + "/" + name),
			"cpu":               "0",
			"healthStatus":      t.health,
			"image":             "example/" + name + ":1",
			"lastStatus":        t.statusOf(name),
			"name":              name,
			"networkInterfaces": t.interfaces(),
			"taskArn":           t.ARN(),
		}
		if t.runs(name) {
			c["runtimeId"] = t.id + "-" + name
			c["networkBindings"] = t.bindings(name)
		}
		all = append(all, c)
	}
	return all
}

func (t *Task) interfaces() []any {
	if t.cfg.NetworkMode != "awsvpc" || !t.addressed() {
		return []any{}
	}
	name := "privateIpv4Address" // spelt unlike in attachments
	if t.isIPv6() {
		name = "ipv6Address"
	}
	return []any{map[string]any{"attachmentId": t.eni, name: t.cfg.Address}}
}

func (t *Task) bindings(container string) []any {
	bindings := []any{}
	if t.cfg.NetworkMode == "awsvpc" {
		return bindings
	}
	for _, m := range t.portsOf(container) {
		bindings = append(bindings, map[string]any{
			"bindIP": "0.0.0.0", "containerPort": m.ContainerPort, "hostPort": m.HostPort, "protocol": m.Protocol,
		})
	}
	return bindings
}

// describe is the container instance as DescribeContainerInstances shows it.
func (i *instance) describe(custom map[string]string) map[string]any {
	attributes := []any{map[string]any{"name": "ecs.os-type", "value": "linux"}}
	for name, value := range custom {
		attributes = append(attributes, map[string]any{"name": name, "value": value})
	}
	return map[string]any{
		"agentConnected":       true,
		"attachments":          []any{},
		"attributes":           attributes,
		"containerInstanceArn": i.arn,
		"ec2InstanceId":        i.ec2ID,
		"status":               "ACTIVE",
		"version":              1,
	}
}
