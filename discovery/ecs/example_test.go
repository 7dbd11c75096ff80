package ecs_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// startService starts a fake of ECS with a service of two tasks, and returns a configuration for the
// first. Inside a real task, ecs.Config{} is that configuration.
func startService() (fake *ecstest.Fake, first ecs.Config) {
	fake, err := ecstest.New(ecstest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	for _, address := range []string{"10.0.1.7", "10.0.2.8"} {
		task, err := fake.AddTask(ecstest.TaskConfig{Service: "web", Address: address})
		if err != nil {
			log.Fatal(err)
		}
		if first.MetadataURL == "" {
			first = task.Config()
		}
	}
	return fake, first
}

func ExampleNew() {
	fake, cfg := startService()
	defer fake.Close()

	p, err := ecs.New(context.Background(), cfg) // in a task: ecs.New(ctx, ecs.Config{})
	fmt.Println(p.Task().Family, err)

	_, err = ecs.New(context.Background(), ecs.Config{}) // but this is none
	if errors.Is(err, ecs.ErrNotOnECS) {
		fmt.Println("not on ECS, falling back to", discovery.Static("127.0.0.1:7946") != nil)
	}
	// Output:
	// web <nil>
	// not on ECS, falling back to true
}

func ExampleProvider_Peers() {
	fake, cfg := startService()
	defer fake.Close()
	p, err := ecs.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	peers, err := p.Peers(context.Background())
	fmt.Println(peers, err)

	fake.Inject(ecstest.AccessDenied("ListTasks"))
	_, err = p.Peers(context.Background())
	fmt.Println(errors.Is(err, ecs.ErrAccessDenied))
	// Output:
	// [10.0.2.8:7946] <nil>
	// true
}

func ExampleProvider_Self() {
	fake, cfg := startService()
	defer fake.Close()
	p, err := ecs.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	self, err := p.Self(context.Background())
	fmt.Println(len(self.Name), self.Addr, self.Tags["zone"], err)
	// Output: 32 10.0.1.7 eu-central-1a <nil>
}

func ExampleProvider_Task() {
	fake, cfg := startService()
	defer fake.Close()
	p, err := ecs.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	task := p.Task()
	fmt.Println(task.Cluster, task.LaunchType, task.NetworkMode)
	// Output: arn:aws:ecs:eu-central-1:123456789012:cluster/default FARGATE awsvpc
}

// Tasks in bridge or host mode have the address of their host, which HostIP can look up.
func ExampleConfig_hostIP() {
	inventory := map[string]string{"arn:aws:ecs:eu-central-1:123456789012:container-instance/prod/abc": "10.0.1.9"}
	cfg := ecs.Config{
		HostIP: func(_ context.Context, arn string) (netip.Addr, error) {
			return netip.ParseAddr(inventory[arn])
		},
	}
	ip, err := cfg.HostIP(context.Background(), "arn:aws:ecs:eu-central-1:123456789012:container-instance/prod/abc")
	fmt.Println(ip, err)
	// Output: 10.0.1.9 <nil>
}

// A program that shows why its task finds nobody.
func ExampleProvider_Look() {
	fake, cfg := startService()
	defer fake.Close()
	if _, err := fake.AddTask(ecstest.TaskConfig{Service: "web", Address: "10.0.3.9", Status: "PROVISIONING"}); err != nil {
		log.Fatal(err)
	}
	p, err := ecs.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	r, err := p.Look(context.Background())
	fmt.Println(r.Peers, r.Listed, r.SelfListed, r.Skipped, err)
	// Output: [10.0.2.8:7946] 2 true map[it has no address yet:1] <nil>
}

// The tasks of all services that have the right value of a tag are one bus.
func ExampleConfig_filter() {
	fake, cfg := startService()
	defer fake.Close()
	for _, task := range []ecstest.TaskConfig{
		{Service: "api", Address: "10.0.3.1", Tags: map[string]string{"bus": "shop"}},
		{Service: "db", Address: "10.0.3.2"},
	} {
		if _, err := fake.AddTask(task); err != nil {
			log.Fatal(err)
		}
	}
	cfg.WholeCluster = true
	cfg.Filter = func(_, other ecs.Task) bool { return other.Tags["bus"] == "shop" }
	p, err := ecs.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Peers(context.Background()))
	// Output: [10.0.3.1:7946] <nil>
}

// A bus over two ECS clusters, which may be in different regions or accounts.
func ExampleConfig_severalClusters() {
	fake, cfg := startService()
	defer fake.Close()
	if _, err := fake.AddTask(ecstest.TaskConfig{Cluster: "edge", Service: "gate", Address: "10.1.0.2"}); err != nil {
		log.Fatal(err)
	}
	here, err := ecs.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	// With a Region and an AWS of its own, if need be.
	cfg.Cluster, cfg.Services = "edge", []string{"gate"}
	there, err := ecs.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(discovery.Merge(here, there).Peers(context.Background()))
	// Output: [10.0.2.8:7946 10.1.0.2:7946] <nil>
}
