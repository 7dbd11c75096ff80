// Package ecstest is a fake of Amazon ECS for tests and for rehearsals on one machine.
//
// A [Fake] has both sides that a program in a task sees: the control plane, which speaks the AWS
// JSON protocol to the real AWS SDK (ListTasks, DescribeTasks, DescribeContainerInstances), and
// the task metadata endpoint (versions 4, 3 and 2). Tasks are added, change their status, stop
// and go as a test says; faults are injected; calls are counted.
//
//	fake, err := ecstest.New(ecstest.Config{})
//	defer fake.Close()
//	task, err := fake.AddTask(ecstest.TaskConfig{Service: "web", Address: "127.0.0.2"})
//	p, err := ecs.New(ctx, task.Config())           // in this process, as that task
//	cmd.Env = append(os.Environ(), task.Env()...)   // or a child process that believes to be that task
//
// What points a program to the fake is only in what Env and Config return, so that nothing of a
// rehearsal can reach a program that was not started by it.
//
// # How like ECS it is
//
// Like ECS: one cluster and one service are seen at a time, and not those with similar names;
// ClusterNotFoundException, ServiceNotFoundException; lists hold what is to run (RUNNING is the
// default), in pages of 100; descriptions of at most 100 tasks, with MISSING for those of another
// cluster; the attachment of the network interface beside others; the addresses again for each
// container; port mappings for each protocol; metadata without Ports on Fargate, and with one
// empty address in host mode; requests must be signed for the right region and service, with the
// fake's own key.
//
// Unlike ECS: nothing happens by itself (a stopped task is not replaced, a status does not
// progress), and what was changed is seen at once. Signatures are not computed again, only their
// scope and key are checked. Only what ECS discovery needs is there.
package ecstest
