package ecstest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/runrig-go/runrig/discovery"
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

// A task that is found UNHEALTHY is left out where that was asked for.
func ExampleTask_SetHealth() {
	fake, task := mustFake()
	defer fake.Close()
	other, err := fake.AddTask(ecstest.TaskConfig{Service: "web", Address: "127.0.0.3"})
	if err != nil {
		log.Fatal(err)
	}
	cfg := task.Config()
	cfg.SkipUnhealthy = true
	p, err := ecs.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	for _, health := range []string{"HEALTHY", "UNHEALTHY"} {
		other.SetHealth(health)
		peers, err := p.Peers(context.Background())
		fmt.Println(health, peers, err)
	}
	// Output:
	// HEALTHY [127.0.0.3:7946] <nil>
	// UNHEALTHY [] <nil>
}

// The role may not list tasks, and then nobody answers.
func ExampleAccessDenied() {
	fake, task := mustFake()
	defer fake.Close()
	p, err := ecs.New(context.Background(), task.Config())
	if err != nil {
		log.Fatal(err)
	}
	fake.Inject(ecstest.AccessDenied("ListTasks"))
	_, err = p.Peers(context.Background())
	fmt.Println(errors.Is(err, ecs.ErrAccessDenied), discovery.IsMisconfigured(err))

	fake.ClearFaults()
	fake.Inject(ecstest.Hang("ListTasks"))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = p.Peers(ctx)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output:
	// true true
	// true
}

// A Fault of one's own: an answer that is none, once.
func ExampleFault() {
	fake, task := mustFake()
	defer fake.Close()
	p, err := ecs.New(context.Background(), task.Config())
	if err != nil {
		log.Fatal(err)
	}
	fake.Inject(ecstest.Fault{Action: "ListTasks", Times: 1, Status: 200, Body: "<html>welcome to our proxy</html>"})
	_, err = p.Peers(context.Background())
	fmt.Println(err != nil)
	_, err = p.Peers(context.Background())
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

// A Fake can be served in another way too: here by a server of the caller's.
func ExampleFake_ServeHTTP() {
	fake, task := mustFake()
	defer fake.Close()
	server := httptest.NewServer(fake)
	defer server.Close()
	cfg := task.Config()
	cfg.MetadataURL = strings.Replace(cfg.MetadataURL, fake.URL(), server.URL, 1)
	p, err := ecs.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Task().ID == task.ID())
	// Output: true
}
