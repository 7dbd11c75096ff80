package ecstest_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"strings"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// Three tasks of a service; the first looks for the others.
func Example() {
	fake, err := ecstest.New(ecstest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()
	var tasks []*ecstest.Task
	for i := range 3 {
		task, err := fake.AddTask(ecstest.TaskConfig{Service: "web", Address: fmt.Sprintf("127.0.0.%d", i+2)})
		if err != nil {
			log.Fatal(err)
		}
		tasks = append(tasks, task)
	}
	p, err := ecs.New(context.Background(), tasks[0].Config())
	if err != nil {
		log.Fatal(err)
	}
	peers, err := p.Peers(context.Background())
	slices.Sort(peers)
	fmt.Println(peers, err)

	tasks[2].Stop()
	peers, err = p.Peers(context.Background())
	fmt.Println(peers, err)
	// Output:
	// [127.0.0.3:7946 127.0.0.4:7946] <nil>
	// [127.0.0.3:7946] <nil>
}

// mustFake is a fake with one task, PENDING.
func mustFake() (*ecstest.Fake, *ecstest.Task) {
	fake, err := ecstest.New(ecstest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	task, err := fake.AddTask(ecstest.TaskConfig{Service: "web", Address: "127.0.0.2", Status: "PENDING"})
	if err != nil {
		log.Fatal(err)
	}
	return fake, task
}

func ExampleNew() {
	fake, err := ecstest.New(ecstest.Config{Region: "eu-west-1", PageSize: 10})
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()
	fmt.Println(strings.HasPrefix(fake.URL(), "http://127.0.0.1:"))
	// Output: true
}

func ExampleFake_AddTask() {
	fake, _ := mustFake()
	defer fake.Close()
	task, err := fake.AddTask(ecstest.TaskConfig{
		Service:     "web",
		Address:     "127.0.0.1",
		NetworkMode: "bridge",
		Ports:       []ecstest.PortMapping{{ContainerPort: 7946, HostPort: 8001}},
	})
	fmt.Println(task.Address(), task.Status(), err)
	_, err = fake.AddTask(ecstest.TaskConfig{Service: "web", Address: "here"})
	fmt.Println(err != nil)
	// Output:
	// 127.0.0.1 RUNNING <nil>
	// true
}

func ExampleFake_AddService() {
	fake, task := mustFake()
	defer fake.Close()
	fake.AddService("default", "api") // exists, without tasks
	cfg := task.Config()
	cfg.Services = []string{"api"}
	p, err := ecs.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	peers, err := p.Peers(context.Background())
	fmt.Println(len(peers), err)
	// Output: 0 <nil>
}

func ExampleFake_AddCluster() {
	fake, task := mustFake()
	defer fake.Close()
	fake.AddCluster("empty") // a cluster without any service
	cfg := task.Config()
	cfg.Cluster, cfg.Families = "empty", []string{"web"}
	p, err := ecs.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	peers, err := p.Peers(context.Background())
	fmt.Println(len(peers), err)
	// Output: 0 <nil>
}

func ExampleFake_Inject() {
	fake, task := mustFake()
	defer fake.Close()
	p, err := ecs.New(context.Background(), task.Config())
	if err != nil {
		log.Fatal(err)
	}
	fake.Inject(ecstest.Throttle(1)) // the SDK tries again
	_, err = p.Peers(context.Background())
	fmt.Println(err)

	fake.Inject(ecstest.ServerError(0)) // all requests from now on
	_, err = p.Peers(context.Background())
	fmt.Println(err != nil)

	fake.ClearFaults()
	_, err = p.Peers(context.Background())
	fmt.Println(err)
	// Output:
	// <nil>
	// true
	// <nil>
}

func ExampleFake_Calls() {
	fake, task := mustFake()
	defer fake.Close()
	if _, err := ecs.New(context.Background(), task.Config()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(fake.Calls(ecstest.Metadata), fake.Calls("ListTasks"), fake.Calls(""))
	// Output: 2 0 2
}

func ExampleTask_SetStatus() {
	fake, task := mustFake()
	defer fake.Close()
	fmt.Println(task.Status())
	task.SetStatus("RUNNING")
	fmt.Println(task.Status())
	task.Stop()
	fmt.Println(task.Status())
	task.Remove() // nobody can see it any more
	// Output:
	// PENDING
	// RUNNING
	// STOPPED
}

// A child process that gets this environment believes to be the task.
func ExampleTask_Env() {
	fake, task := mustFake()
	defer fake.Close()
	for _, setting := range task.Env() {
		name, value, _ := strings.Cut(setting, "=")
		switch name {
		case "AWS_EXECUTION_ENV", "AWS_REGION":
			fmt.Println(setting)
		case "ECS_CONTAINER_METADATA_URI_V4":
			fmt.Println(name, strings.HasPrefix(value, fake.URL()+"/v4/"+task.ID()))
		}
	}
	// Output:
	// AWS_EXECUTION_ENV=AWS_ECS_FARGATE
	// AWS_REGION=eu-central-1
	// ECS_CONTAINER_METADATA_URI_V4 true
}

func ExampleTask_Config() {
	fake, task := mustFake()
	defer fake.Close()
	p, err := ecs.New(context.Background(), task.Config())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Task().ID == task.ID(), p.Task().ARN == task.ARN())
	// Output: true true
}
