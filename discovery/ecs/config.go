package ecs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/runrig-go/runrig/discovery/internal/guard"
)

// DefaultPort is the port at which peers are expected when Config.Port is 0.
const DefaultPort = 7946

// Config says what to look for. The zero value is right inside a task whose
// service is the whole cluster of nodes: everything is taken from the task
// itself.
type Config struct {
	// Cluster is the name or ARN of the ECS cluster to look in; "" means the
	// task's own.
	Cluster string
	// Services are the names or ARNs of the services whose tasks are peers. One
	// that does not exist is an error only if none does. When both Services and Families are empty, it is the task's own service,
	// or, for a task that belongs to no service, its own family.
	Services []string
	// Families are task definition families whose tasks are peers too, in a
	// service or not.
	Families []string
	// WholeCluster lists every task of the cluster, in place of Services and
	// Families, and leaves the choice to Tags, SameDeployment or Filter, of
	// which one must be set.
	WholeCluster bool
	// Tags are tags that a task must have to be a peer, each with exactly this
	// value (propagateTags: SERVICE gives tasks the tags of their service).
	// Once a task is a peer they are not read again; one that lacks them is
	// looked at again while it starts, and then each five minutes.
	Tags map[string]string
	// SameDeployment keeps the two sides of a blue/green deployment apart, or
	// the old and the new tasks of a rolling one: a task of another deployment
	// (startedBy) is no peer. Nodes that have met by other ways still gossip:
	// give each side a name or a secret of its own, too.
	SameDeployment bool
	// Filter says whether a task is a peer of the own one; nil means all are.
	// It is asked once for each task that runs and passed what is above, again
	// for one that it refused each five minutes, and each time for one that only
	// starts. It must not wait, and is called by one goroutine at a time. What it is given is its own.
	Filter func(own, other Task) bool
	// SkipUnhealthy leaves out tasks that are UNHEALTHY; one whose health is
	// not known, or not checked, is a peer. Since health changes, each call of
	// Peers then describes all tasks again.
	SkipUnhealthy bool
	// Region is the AWS region to ask. "" means that of Cluster, if it is an
	// ARN, else AWS_REGION, else AWS_DEFAULT_REGION, else the region of the
	// task's own ARN, else what the AWS configuration says.
	Region string
	// Port is the port of the peers, 1 to 65535; 0 means DefaultPort. It is the
	// port inside the container; in bridge mode the host port it is mapped to
	// is found and used.
	Port int
	// HostIP gives the address of a container instance (an EC2 host), for tasks
	// in bridge or host mode, which have none of their own. It is given the ARN
	// of the instance, may wait until ctx ends, and is called by one goroutine
	// at a time; an answer is kept for as long as tasks of that instance are
	// listed. An error fails the call of Peers or Self; one that will not pass
	// by itself is better marked by discovery.Misconfigured. Nil means the
	// instance's attribute "private-ip", as
	// ECS_INSTANCE_ATTRIBUTES={"private-ip":"10.0.1.9"} in /etc/ecs/ecs.config
	// sets it, read by ecs:DescribeContainerInstances.
	HostIP func(ctx context.Context, containerInstanceARN string) (netip.Addr, error)
	// MetadataURL is the task metadata endpoint; "" means to look for it in the
	// environment. A URL that ends in /v2/metadata is one of version 2, any
	// other the container's own of version 3 or 4.
	MetadataURL string
	// AWS is a configuration of the AWS SDK to use, for a role in another
	// account, say; name that account by Cluster, as an ARN. Nil means the SDK's own default: inside a task, the task
	// role. It is copied. Its Region counts instead of AWS_REGION and
	// AWS_DEFAULT_REGION, and may be empty. A panic of its credentials is their
	// error; but not of what is inside an aws.CredentialsCache, which asks on a
	// goroutine of its own.
	AWS *aws.Config
	// Logger gets a line at debug level for each task that is left out, with
	// the reason, and warnings about what needs somebody's attention. Nil means
	// slog.Default().
	Logger *slog.Logger
}

// withDefaults returns a copy with defaults filled in, or says which field is
// wrong.
func (c Config) withDefaults() (Config, error) {
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	if c.Port < 1 || c.Port > 65535 {
		return c, fmt.Errorf("ecs: Config.Port is %d, want 1 to 65535 (0 means %d)", c.Port, DefaultPort)
	}
	if slices.Contains(c.Services, "") {
		return c, fmt.Errorf("ecs: Config.Services has an empty name: %q", c.Services)
	}
	if slices.Contains(c.Families, "") {
		return c, fmt.Errorf("ecs: Config.Families has an empty name: %q", c.Families)
	}
	if err := c.checkChoice(); err != nil {
		return c, err
	}
	c.Services, c.Families, c.Tags = slices.Clone(c.Services), slices.Clone(c.Families), maps.Clone(c.Tags)
	c.Logger = guard.Logger(c.Logger)
	return c, nil
}

// checkChoice checks the fields that choose among what is listed.
func (c Config) checkChoice() error {
	if _, ok := c.Tags[""]; ok {
		return fmt.Errorf("ecs: Config.Tags has an empty key: %q", c.Tags)
	}
	switch {
	case !c.WholeCluster:
		return nil
	case len(c.Services)+len(c.Families) > 0:
		return fmt.Errorf("ecs: Config.WholeCluster is set beside Services %q and Families %q; set only one of them", c.Services, c.Families)
	case len(c.Tags) == 0 && c.Filter == nil && !c.SameDeployment:
		return errors.New("ecs: Config.WholeCluster is set, so that every task of the cluster would be a peer; set Tags or Filter, too")
	}
	return nil
}
