package ecstest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/runrig-go/runrig/discovery/ecs"
)

// TaskConfig describes a task. Only Address is needed.
type TaskConfig struct {
	// Cluster is the name of the ECS cluster; "" means "default". It is made if
	// need be.
	Cluster string
	// Service is the service that started the task, made if need be; "" means
	// none (RunTask).
	Service string
	// Family is the family of the task definition; "" means the name of the
	// service, else "task".
	Family string
	// Address is the IP address of the task's network interface in awsvpc mode,
	// else that of the container instance, of which there is one for each
	// address.
	Address string
	// NetworkMode is "awsvpc", "bridge" or "host"; "" means "awsvpc".
	NetworkMode string
	// Ports are the port mappings in bridge and host mode; nil means
	// ecs.DefaultPort, unchanged, in bridge mode, and none in host mode, which
	// needs none.
	Ports []PortMapping
	// Container is the name of the container that Env is for; "" means "app".
	// Sidecars are the names of others, which are listed before it.
	Container string
	Sidecars  []string
	// StartsLast says that the container depends on its sidecars: while the task
	// is ACTIVATING only they run, and a description has their port mappings and
	// none of the container.
	StartsLast bool
	// Status is the state in which the task is at first; "" means "RUNNING".
	Status string
	// Then are the changes of status that come by themselves; [Lifecycle] makes
	// them. [Task.SetStatus] and [Task.Stop] put an end to them.
	Then []Step
	// Zone is the availability zone; "" means the first of the region.
	Zone string
	// LaunchType is "FARGATE", "EC2" or "EXTERNAL"; "" means FARGATE in awsvpc
	// mode, else EC2.
	LaunchType string
	// StartedAt is when it began to run; zero means when it was added, or first
	// set to RUNNING.
	StartedAt time.Time
	// StartedBy names the deployment; "" means one for each service.
	StartedBy string
	// Revision is that of the task definition; 0 means 1.
	Revision int
	// Tags are the tags of the task, which are shown to who asks for them.
	Tags map[string]string
	// Health is "HEALTHY", "UNHEALTHY" or "UNKNOWN"; "" means UNKNOWN, which a
	// task without a health check of its container is.
	Health string
	// StopTimeout is what a process has between SIGTERM and SIGKILL; 0 means 30
	// seconds, as on ECS.
	StopTimeout time.Duration
	// MetadataVersion is the newest version of the metadata endpoint that Env
	// and Config name: 4, 3 or 2; 0 means 4. Version 2 is found by the caller's
	// own address, which must be the task's.
	MetadataVersion int
	// LateNetworks is how many answers of the metadata endpoint lack networks
	// and ports, which the agent has some time after the container has started.
	LateNetworks int
	// EditTask may change the task as DescribeTasks shows it (JSON of
	// types.Task), each time it is shown: to take fields out, or to add
	// attachments. EditMetadata may change an answer of the metadata endpoint;
	// path is "/v4/ID/task", say. Neither may call methods of the Fake or its
	// Tasks.
	EditTask     func(task map[string]any)
	EditMetadata func(path string, answer map[string]any)
}

// PortMapping maps a port of a container to one of its host.
type PortMapping struct {
	ContainerPort int
	HostPort      int
	Protocol      string // "tcp" or "udp"; "" means both
	Container     string // the name of a sidecar; "" means TaskConfig.Container
}

// Task is a task of the fake. Its methods may be called concurrently.
type Task struct {
	fake     *Fake
	cfg      TaskConfig
	cluster  *cluster
	instance *instance // nil on Fargate
	id       string
	endpoint string // id of the container in the metadata endpoint's paths
	eni      string // id of the network interface's attachment
	created  time.Time

	// guarded by fake.mu
	line    timeline
	health  string
	bare    int       // answers of the metadata endpoint that are to lack networks
	removed time.Time // zero: is still there
	process *process  // nil: none was started
}

// AddTask adds a task. The error names the field of cfg that is wrong.
func (f *Fake) AddTask(cfg TaskConfig) (*Task, error) {
	cfg, err := cfg.withDefaults(f.cfg.Region)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &Task{
		fake:    f,
		cfg:     cfg,
		cluster: f.cluster(cfg.Cluster),
		id:      randomID(),
		eni:     randomID(),
		created: f.cfg.Now(),
		health:  cfg.Health,
		bare:    cfg.LateNetworks,
	}
	t.endpoint = t.id + "-0527074092"
	if cfg.Service != "" {
		t.cluster.services[cfg.Service] = true
	}
	if cfg.LaunchType != "FARGATE" {
		t.instance = f.instance(t.cluster, cfg.Address)
	}
	t.line = script(t.created, cfg.Status, cfg.Then)
	f.tasks = append(f.tasks, t)
	return t, nil
}

func (c TaskConfig) withDefaults(region string) (TaskConfig, error) {
	c.Cluster = cmp.Or(c.Cluster, "default")
	c.Family = cmp.Or(c.Family, c.Service, "task")
	c.NetworkMode = cmp.Or(c.NetworkMode, "awsvpc")
	c.Container = cmp.Or(c.Container, "app")
	c.Status = cmp.Or(c.Status, "RUNNING")
	c.Zone = cmp.Or(c.Zone, region+"a")
	c.MetadataVersion = cmp.Or(c.MetadataVersion, 4)
	c.Revision = cmp.Or(c.Revision, 1)
	c.Health = cmp.Or(c.Health, "UNKNOWN")
	c.StopTimeout = cmp.Or(c.StopTimeout, 30*time.Second)
	c.Then = slices.Clone(c.Then)
	c.Tags = maps.Clone(c.Tags)
	if c.LaunchType == "" {
		c.LaunchType = "EC2"
		if c.NetworkMode == "awsvpc" {
			c.LaunchType = "FARGATE"
		}
	}
	if c.StartedBy == "" && c.Service != "" {
		c.StartedBy = "ecs-svc/" + c.Service
	}
	if c.NetworkMode == "bridge" && c.Ports == nil {
		c.Ports = []PortMapping{{ContainerPort: ecs.DefaultPort, HostPort: ecs.DefaultPort}}
	}
	return c, c.check()
}

func (c TaskConfig) check() error {
	if _, err := netip.ParseAddr(c.Address); err != nil {
		return fmt.Errorf("ecstest: TaskConfig.Address is %q, want an IP address: %w", c.Address, err)
	}
	if !slices.Contains([]string{"awsvpc", "bridge", "host"}, c.NetworkMode) {
		return fmt.Errorf("ecstest: TaskConfig.NetworkMode is %q, want awsvpc, bridge or host", c.NetworkMode)
	}
	if !slices.Contains(states, c.Status) {
		return fmt.Errorf("ecstest: TaskConfig.Status is %q, want one of %q", c.Status, states)
	}
	if c.LaunchType == "FARGATE" && c.NetworkMode != "awsvpc" {
		return fmt.Errorf("ecstest: TaskConfig.LaunchType is FARGATE, which has no network mode %q", c.NetworkMode)
	}
	if err := checkSteps(c.Then); err != nil {
		return err
	}
	if err := c.checkPorts(); err != nil {
		return err
	}
	if !slices.Contains([]string{"HEALTHY", "UNHEALTHY", "UNKNOWN"}, c.Health) {
		return fmt.Errorf("ecstest: TaskConfig.Health is %q, want HEALTHY, UNHEALTHY or UNKNOWN", c.Health)
	}
	if c.StopTimeout < 0 {
		return fmt.Errorf("ecstest: TaskConfig.StopTimeout is %v, want no negative time", c.StopTimeout)
	}
	if c.MetadataVersion < 2 || c.MetadataVersion > 4 {
		return fmt.Errorf("ecstest: TaskConfig.MetadataVersion is %d, want 2, 3 or 4", c.MetadataVersion)
	}
	return nil
}

func (c TaskConfig) checkPorts() error {
	for i, m := range c.Ports {
		switch {
		case c.NetworkMode == "host" && m.HostPort != m.ContainerPort:
			return fmt.Errorf("ecstest: TaskConfig.Ports[%d] maps %d to %d, and host mode has no other port than the container's", i, m.ContainerPort, m.HostPort)
		case m.Container != "" && m.Container != c.Container && !slices.Contains(c.Sidecars, m.Container):
			return fmt.Errorf("ecstest: TaskConfig.Ports[%d].Container is %q, want %q or one of Sidecars %q", i, m.Container, c.Container, c.Sidecars)
		}
	}
	return nil
}

// ID is the last part of the task's ARN.
func (t *Task) ID() string { return t.id }

// ARN is the task's ARN, in the long form that has the cluster in it.
func (t *Task) ARN() string { return t.fake.arn("task/" + t.cluster.name + "/" + t.id) }

// Address is the address the task was given in its configuration.
func (t *Task) Address() string { return t.cfg.Address }

// Status is the state the task is in.
func (t *Task) Status() string {
	t.fake.mu.Lock()
	defer t.fake.mu.Unlock()
	return t.status()
}

// status is Status with fake.mu held.
func (t *Task) status() string { return t.line.at(t.fake.cfg.Now()) }

// SetStatus moves the task to another state, one of PROVISIONING, PENDING,
// ACTIVATING, RUNNING, DEACTIVATING, STOPPING, DEPROVISIONING, STOPPED and
// DELETED. From DEACTIVATING on it is no longer listed as one to run. It panics
// for any other state.
func (t *Task) SetStatus(status string) {
	if !slices.Contains(states, status) {
		panic(fmt.Sprintf("ecstest: SetStatus(%q), want one of %q", status, states))
	}
	t.fake.mu.Lock()
	defer t.fake.mu.Unlock()
	t.setStatus(status)
}

// setStatus is SetStatus with fake.mu held.
func (t *Task) setStatus(status string) { t.line = t.line.set(t.fake.cfg.Now(), status) }

// SetHealth changes the task's health to "HEALTHY", "UNHEALTHY" or "UNKNOWN".
func (t *Task) SetHealth(health string) {
	t.fake.mu.Lock()
	defer t.fake.mu.Unlock()
	t.health = health
}

// Remove makes the fake forget the task, as ECS does an hour after it stopped:
// it is MISSING when it is asked for, and is listed only for as long as
// Config.Lag.
func (t *Task) Remove() {
	t.fake.mu.Lock()
	defer t.fake.mu.Unlock()
	if t.removed.IsZero() {
		t.removed = t.fake.cfg.Now()
	}
}

// Env returns the environment, as "NAME=value", that makes a process believe it
// runs in this task: what ECS sets, and, of the AWS SDK's own variables, those
// that lead it to the fake with the fake's key. Variables that could mislead it
// are set to be empty. Append it to the environment of a child process; nothing
// of it should be set in any other way.
func (t *Task) Env() []string {
	env := []string{
		"AWS_EXECUTION_ENV=AWS_ECS_" + t.cfg.LaunchType,
		"AWS_ENDPOINT_URL_ECS=" + t.fake.cfg.URL,
		"AWS_ACCESS_KEY_ID=" + accessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + secretAccessKey,
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
	for _, name := range []string{
		"AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "ECS_CONTAINER_METADATA_FILE", "CODEBUILD_BUILD_ID",
	} {
		env = append(env, name+"=")
	}
	region := "" // ECS gives none on EC2
	if t.cfg.LaunchType == "FARGATE" {
		region = t.fake.cfg.Region
	}
	v4, v3 := "", ""
	if t.cfg.MetadataVersion >= 4 {
		v4 = t.metadataURL(4)
	}
	if t.cfg.MetadataVersion >= 3 {
		v3 = t.metadataURL(3)
	}
	return append(env, "AWS_REGION="+region, "AWS_DEFAULT_REGION="+region,
		"ECS_CONTAINER_METADATA_URI_V4="+v4, "ECS_CONTAINER_METADATA_URI="+v3)
}

// Config returns a configuration with which ecs.New, in the process of the
// caller, makes a provider that believes to run in this task. Fields that a
// test wants different can be changed.
func (t *Task) Config() ecs.Config {
	url := t.fake.cfg.URL
	return ecs.Config{
		MetadataURL: t.metadataURL(t.cfg.MetadataVersion),
		AWS: &aws.Config{
			BaseEndpoint: &url,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: accessKeyID, SecretAccessKey: secretAccessKey, Source: "ecstest"}, nil
			}),
		},
	}
}

// metadataURL is where this version of the endpoint describes the task's
// container, or, for version 2, whatever task has the caller's address.
func (t *Task) metadataURL(version int) string {
	if version == 2 {
		return t.fake.cfg.URL + "/v2/metadata"
	}
	return fmt.Sprintf("%s/v%d/%s", t.fake.cfg.URL, version, t.endpoint)
}

// portsOf returns the port mappings of a container with one protocol each.
func (t *Task) portsOf(container string) []PortMapping {
	var ports []PortMapping
	for _, m := range t.cfg.Ports {
		if cmp.Or(m.Container, t.cfg.Container) != container {
			continue
		}
		protocols := []string{strings.ToLower(m.Protocol)}
		if m.Protocol == "" {
			protocols = []string{"tcp", "udp"}
		}
		for _, m.Protocol = range protocols {
			ports = append(ports, m)
		}
	}
	return ports
}
