// Package ecstest is a fake of Amazon ECS for tests and for rehearsals on one
// machine.
//
// A [Fake] has both sides that a program in a task sees: the control plane,
// which speaks the AWS JSON protocol to the real AWS SDK (ListTasks,
// DescribeTasks, DescribeContainerInstances), and the task metadata endpoint
// (versions 4, 3 and 2). Tasks are added, change their status (by a script, or
// when a test says so), stop and go; faults are injected; calls are counted.
//
//	fake, err := ecstest.New(ecstest.Config{})
//	defer fake.Close()
//	task, err := fake.AddTask(ecstest.TaskConfig{Service: "web", Address: "127.0.0.2"})
//	p, err := ecs.New(ctx, task.Config())            // in this process, as that task
//	err = task.Start(exec.Command("./myprogram"))    // or a process that believes to be that task
//	task.Stop()                                      // SIGTERM and, after the stop timeout, SIGKILL
//
// The example of [Task.Start] runs a program as three tasks. What points a
// program to the fake is only in what Env and Config return, so that nothing of
// a rehearsal can reach a program that was not started by it.
//
// # What can be made to go wrong
//
//   - [Fault]: throttling, HTTP 5xx, access denied, answers that are no answers, requests that hang;
//     of one action or all, the first so many or for some time.
//   - Config.Budget: throttling as AWS does it, by the rate of calls.
//   - Config.Lag: lists that are some seconds old, as they may be on AWS: new tasks are missing from
//     them, and stopped or removed ones still there.
//   - TaskConfig.Then: a status that changes by itself, slowly.
//   - TaskConfig.StartsLast and LateNetworks: port mappings that a description shows one container
//     after the other, networks that the metadata show late.
//   - TaskConfig.EditTask and EditMetadata: fields that are missing, odd attachments, wrong types.
//
// # How like ECS it is
//
// Like ECS: one cluster and one service are seen at a time, and not those with
// similar names; ClusterNotFoundException, ServiceNotFoundException; lists hold
// what is to run (RUNNING is the default), in pages of 100; descriptions of at
// most 100 tasks, with MISSING for those of another cluster; the attachment of
// the network interface beside others; the addresses again for each container;
// port mappings for each protocol; metadata without Ports on Fargate, and with
// one empty address in host mode; requests must be signed for the right region
// and service, with the fake's own key.
//
// Unlike ECS: nothing happens by itself (a stopped task is not replaced, and a
// status progresses only by a script). Signatures are not computed again, only
// their scope and key are checked. Only what ECS discovery needs is there.
package ecstest
