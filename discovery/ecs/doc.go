// Package ecs finds the other tasks of an Amazon ECS service, and the place of
// the own one.
//
// Inside a task nothing needs to be configured:
//
//	p, err := ecs.New(ctx, ecs.Config{})
//	peers, err := p.Peers(ctx) // "10.0.1.7:7946", …
//	self, err := p.Self(ctx)   // the task's id, its address, its availability zone
//
// The cluster, the own id, address and zone come from the task metadata
// endpoint (version 4, else 3, else 2); the service from there or from the
// task's own description; the peers from ecs:ListTasks and ecs:DescribeTasks. A
// [Provider] is a discovery.Provider and a discovery.Identifier. It is about one
// node a task: the own task is never among the peers, and two nodes in
// containers of one task would have one name and one place.
//
// # What a task needs
//
// A task role (taskRoleArn of the task definition; not the execution role) that
// allows ecs:ListTasks and ecs:DescribeTasks; the exact policy is logged when
// AWS denies access. A way to the API: a NAT gateway, a public IP or the
// interface endpoint com.amazonaws.REGION.ecs. A security group that admits the
// port from itself, by tcp and by udp.
//
// # Which tasks are peers
//
// All tasks of the service that ECS wants to run, in whatever deployment, but
// for the own one:
//
//   - RUNNING and ACTIVATING ones, the oldest first.
//   - After them, PENDING ones that have an address: when all tasks start together there is nobody
//     else to ask, and an address where nobody answers yet does no harm.
//   - Not those that are stopping, and not those without an address as yet.
//
// Nothing is settled about a task before it runs, and nothing that speaks
// against a task, or was concluded from something that is missing, is settled
// for ever: it is looked at again with the next two polls, then after half a
// minute, and at last each five minutes.
//
// Health is not looked at unless Config.SkipUnhealthy says so: a node that
// becomes healthy only when it has found others would never be found. The
// reason why a task is left out is logged at debug level when it is new, and
// counted in what [Provider.Look] returns. Tasks that run where they cannot be
// reached, and tasks that are listed of which Config lets none pass, are a
// warning, once. If there are other tasks that run but none of them
// can be reached, that is an error and not an empty list; so is an empty list
// that lacks even the own task, since lists lag behind by seconds.
//
// Config.Services and Families name others, and several of them; a service that
// does not exist, or not yet, hides those of the others no more than one without
// tasks does, and is a warning. WholeCluster lists all tasks, from which Tags and
// Filter choose. Both sides of a
// blue/green deployment are one cluster of nodes unless SameDeployment parts
// them; then give each side a cluster name or secret of its own too, since one
// node that knows both sides would join them. Tasks in several ECS clusters,
// regions or accounts take a Provider for each, of which discovery.Merge makes
// one; that for the own place comes first, as it knows the own address. One that
// asks another account or region than the task's own knows of the own task what
// the metadata say; an empty list is the truth there, and no sign of one that
// lags.
//
// # Network modes
//
// awsvpc (Fargate, and the recommended one on EC2): the address of the task's
// network interface, never a link-local one and never that of another
// attachment. IPv4 is taken before IPv6.
//
// host: the address of the container instance, with the port as it is.
//
// bridge: the address of the container instance, with the host port to which
// the port is mapped. It must be the same for tcp and udp, and so static
// (hostPort in both port mappings); dynamic host ports are refused with
// ErrHostPort, since gossip advertises only one port.
//
// The mode is each task's own, whatever that of the own one. A description does
// not tell it: a task without an interface of its own whose port is mapped,
// alike for tcp and udp, is reached there; one that runs and maps nothing is in
// host mode. One in host mode that maps other ports, or one protocol, is taken
// for one in bridge mode with a wrong mapping, unless the own task is in host
// mode: map both, or none.
//
// Where the metadata lack the own host port, as those of agents before version
// 1.41.1 do, it comes from the container metadata file or from the task's
// description; so does a zone that they lack.
//
// The address of a container instance comes from Config.HostIP, or from the
// instance's attribute "private-ip", which needs ecs:DescribeContainerInstances
// as well; for the own instance also from the container metadata file, where it
// is enabled.
//
// A loopback address is accepted only from a metadata endpoint that is itself
// on loopback, as that of package ecstest is and that of a real task never.
//
// # Numbers
//
// What a call of Peers costs in calls of the API, N being the tasks listed, the
// own one too:
//
//	nothing has changed, all run           ceil(N/100): one up to 100 tasks, three for 300
//	k tasks are new or only start          ceil(k/100) more
//	k tasks cannot be reached, are not     ceil(k/100) more each five minutes
//	wanted, or map nothing in host mode    (more often at first; the last kind for 8 minutes)
//	several Services and Families          the first line for each of them
//	the first one, where the metadata has  one more, to describe the own task
//	no service, or with SameDeployment
//	or Filter
//	bridge and host mode                   one more for each 100 tasks some of whose
//	                                       instances are not known
//	SkipUnhealthy                          ceil(N/100) more each time
//
// A list has at most 100 tasks a page, and AWS offers no way to ask whether it
// has changed. An account and region have 20 such calls a second for all that
// they run, with bursts of 100. With package cluster, whose nodes ask every
// max(30 s, N × 1 s), a settled service makes N/30 calls a second up to 30
// tasks, one up to 100, and ceil(N/100) from there: 3 with 300 tasks, 10 with
// 1,000, which is half of what there is. What the SDK tries again counts as
// well.
//
// Each call of Peers or Self ends after ten seconds of asking the API at the
// latest; calls at the same time share an answer. The SDK tries each call three
// times. From 25 tasks on, the first description waits a random time of up to
// 20 ms for each, at most 5 s, as all may have started at once. What a call that
// failed has learned about tasks is kept, so that the next one has less to ask.
// More than 10,000 tasks, or an answer of more than 32 MiB, are an error.
//
// The metadata endpoint is tried three times, for 1.5 seconds each, and asked
// only by New (and by Self and Peers while they lack the address or the mode).
//
// # Why islands still merge within a minute
//
// A node of package cluster asks after 0.5, 1, 2, 4 s and then each 5 s, ± 20
// %, until it has met others, or for its first minute while it is told that
// there is nobody. From then on it asks every max(30 s, N × 1 s) ± 20 %, N
// being the members it knows; so it does, too, while it is alone and an error
// says that somebody has to change something.
//
// Let a cluster be in two parts that do not know of each other. Each node
// counts only its own part. In one of less than 30 nodes each asks after 36 s
// at the latest. In a larger one a single node may wait for longer, but its n
// nodes ask about once a second together, at times that have nothing to do with
// each other: that none does for 30 s has a probability below (1 - 30/1.2n)^n,
// which is less than one in a thousand million for any n. One question of one
// node of one part is enough: its answer, which takes up to 10 s, is complete
// or an error, so that it has the tasks of the other part; the node tries those
// that are not among its members, and gossip makes the two parts one. The sum
// is less than a minute. It needs a list that shows both parts, which lags by
// seconds, and an address of the other part that answers. In the tests 2 to 10
// nodes took 0.3 to 24 s.
package ecs
