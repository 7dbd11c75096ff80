package ecs_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// What must work on ECS, and the tests that show it.
//
//	a Fargate task without any setting             TestFargateWithoutConfiguration, TestEnvironmentIsEnough
//	three tasks start at once: one cluster         TestColdStartIsOneCluster
//	250 tasks: pages and chunks                    TestManyTasksArePagedAndDescribedByTheHundred
//	throttled for 30 s, then not                   TestThrottledColdStart, TestThrottledForHalfAMinute
//	islands that do not know of each other         TestIslandsMergeWithinAMinute
//	the API fails after the join: nobody is lost   TestNobodyIsLostWhenTheAPIFails
//	sidecars, an EBS volume's attachment           TestSidecarsAndOtherAttachments
//	two services on one bus                        TestTwoServicesOneBus, TestSeveralServicesAndFamilies
//	blue/green, together and apart                 TestOldAndNewTasksOfADeploymentAreBothPeers, TestChoice
//	bridge: static ports, dynamic ones refused     TestBridgeWithStaticHostPorts, TestUnsuitablePortMappings
//	host mode, metadata with [""]                  TestHostMode
//	metadata of version 3 only                     TestMetadataVersions, TestEnvironmentIsEnough
//	metadata fails, then does not                  TestMetadataIsTriedThreeTimes
//	SIGTERM: the node leaves in time               TestSIGTERMLeavesInTime
//	another bus gets a dead task's address         TestAddressReusedByAnotherBus
//	a hundred nodes within the account's budget    TestAHundredNodesStayWithinTheBudget

// What users get wrong, and the tests of what they are told.
//
//	not on ECS (Docker on a laptop)                TestNotOnECSIsSaidAtOnce
//	169.254.x, loopback, another attachment        TestOwnAddressOfAwsvpc, TestUnreachableAddressesAreNotPeers,
//	                                               TestLoopbackIsRefusedOffLoopback, TestSidecarsAndOtherAttachments
//	a bridge's own address, dynamic host ports     TestBridgeWithStaticHostPorts, TestUnsuitablePortMappings
//	no address of the instance                     TestInstanceWithoutAttribute, TestHostIP
//	service or cluster misspelt, bad credentials   TestErrorsOfTheAPI, TestCredentialErrors
//	no region, the wrong one                       TestRegion, TestChooseRegion
//	permissions on the wrong role, too few         TestAccessDeniedShowsThePolicyOnce, TestAccessDeniedToContainerInstances
//	no way to the API                              TestNoConnectionIsTemporary, TestPeersLimitsItself
//	only the own task, or all left out             TestNoPeersThoughTasksIsLogged, TestLookCountsWhatIsLeftOut
//	a list that lags behind taken for solitude     TestListWithoutSelfIsNoProofOfSolitude
//	version 2 in bridge mode                       TestVersion2InBridgeMode
//	a wrong clock                                  TestWrongClock
//	a proxy                                        TestMetadataIsNotAskedThroughAProxy
//	Config that contradicts itself                 TestConfigErrorsNameTheField, TestSameDeploymentInAnotherRegion
//
// Whatever else AWS or the metadata endpoint may answer is in answers_test.go.

// scenarioPort is the port of the nodes of these tests, at addresses that no other test uses.
const scenarioPort = 17946

// service is a task of the service with a loopback address, where nodes can really be.
func serviceTask(service, ip string) ecstest.TaskConfig {
	return ecstest.TaskConfig{Cluster: "prod", Service: service, Address: ip}
}

// node starts a node in this process as that task. It is closed with the test.
func node(t *testing.T, task *ecstest.Task, name string, change func(*ecs.Config)) *cluster.Node {
	t.Helper()
	p := newProvider(t, task, func(cfg *ecs.Config) {
		cfg.Port = scenarioPort
		if change != nil {
			change(cfg)
		}
	})
	eb := bus.New(bus.WithLogger(slog.New(slog.DiscardHandler)))
	n, err := cluster.Join(t.Context(), eb, cluster.Config{
		Discovery: p, Cluster: name, Bind: net.JoinHostPort(task.Address(), fmt.Sprint(scenarioPort)), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		if _, lerr := net.Listen("tcp", task.Address()+":0"); lerr != nil {
			t.Skipf("this system has only one loopback address: %v", lerr)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("closing a node: %v", err)
		}
		_ = eb.Close()
	})
	return n
}

// alive counts the members that n is linked with.
func alive(n *cluster.Node) (count int) {
	for _, m := range n.Members() {
		if m.Boot != n.Self().Boot && m.Status == cluster.StatusAlive && m.Linked() {
			count++
		}
	}
	return count
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 30s: %s", what)
		}
	}
}

// All tasks start together; lists lag behind, so that nobody sees the others at first.
func TestColdStartIsOneCluster(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{Lag: time.Second})
	nodes := make([]*cluster.Node, 3)
	for i := range nodes {
		cfg := serviceTask("web", fmt.Sprintf("127.77.1.%d", i+1))
		cfg.Status, cfg.Then = "PENDING", []ecstest.Step{{After: 2 * time.Second, Status: "RUNNING"}}
		nodes[i] = node(t, addTask(t, fake, cfg), "", nil)
	}
	for _, n := range nodes {
		eventually(t, "all three are linked", func() bool { return alive(n) == 2 })
	}
	for i, n := range nodes {
		if self := n.Self(); self.Tags["zone"] != "eu-central-1a" || self.Addr != fmt.Sprintf("127.77.1.%d:%d", i+1, scenarioPort) {
			t.Errorf("node %d says that it is %+v", i, self)
		}
	}
}

func TestTwoServicesOneBus(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	both := func(cfg *ecs.Config) { cfg.Services = []string{"web", "api"} }
	a := node(t, addTask(t, fake, serviceTask("web", "127.77.3.1")), "", both)
	b := node(t, addTask(t, fake, serviceTask("api", "127.77.3.2")), "", both)
	eventually(t, "both are linked", func() bool { return alive(a) == 1 && alive(b) == 1 })
}

// A task that died had an address that a task of another bus has by now. Neither takes the other
// for one of its own.
func TestAddressReusedByAnotherBus(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	dead := addTask(t, fake, serviceTask("web", "127.77.4.2")) // is still listed
	other := node(t, addTask(t, fake, serviceTask("shop", "127.77.4.2")), "shop", nil)
	a := node(t, addTask(t, fake, serviceTask("web", "127.77.4.1")), "web", nil)
	eventually(t, "the other bus refuses", func() bool { return a.Stats().RefusedBy.Cluster > 0 })
	if alive(a) != 0 || alive(other) != 0 {
		t.Errorf("a has %d members and the other bus's node has %d, want none", alive(a), alive(other))
	}
	dead.Stop()
}

// A task that is told to stop leaves, so that the others know at once, and is gone before SIGKILL.
func TestSIGTERMLeavesInTime(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	a := node(t, addTask(t, fake, serviceTask("web", "127.77.5.1")), "", nil)
	task := addTask(t, fake, serviceTask("web", "127.77.5.2"))
	cmd := exec.Command(os.Args[0], "-test.run=^TestNodeChild$")
	cmd.Env = append(os.Environ(), childEnv+"=node", "ECS_TEST_BIND="+net.JoinHostPort(task.Address(), fmt.Sprint(scenarioPort)))
	cmd.Stderr = os.Stderr
	if err := task.Start(cmd); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child has joined", func() bool { return alive(a) == 1 })
	start := time.Now()
	task.Stop()
	if err := task.Wait(); err != nil {
		t.Errorf("the child ended with %v, want exit code 0", err)
	}
	if took := time.Since(start); took > 25*time.Second {
		t.Errorf("it took %v, of the 30s there are", took)
	}
	eventually(t, "a knows that the child left", func() bool {
		return slices.ContainsFunc(a.Members(), func(m cluster.Member) bool { return m.Status == cluster.StatusLeft })
	})
}

// TestNodeChild is the child's part of TestSIGTERMLeavesInTime.
func TestNodeChild(t *testing.T) {
	if os.Getenv(childEnv) != "node" {
		t.Skip("only in a child process of other tests")
	}
	ctx, cancel := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer cancel()
	p, err := ecs.New(ctx, ecs.Config{Port: scenarioPort})
	if err != nil {
		t.Fatal(err)
	}
	eb := bus.New()
	defer eb.Close()
	n, err := cluster.Join(ctx, eb, cluster.Config{Discovery: p, Bind: os.Getenv("ECS_TEST_BIND")})
	if err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// A node keeps asking and is told that it could not ask; when it has met others it goes on with the
// last list.
func TestThrottledForHalfAMinute(t *testing.T) {
	t.Parallel()
	now := &virtualClock{}
	fake := newFake(t, ecstest.Config{Now: now.Now})
	own := addTask(t, fake, web("10.0.0.1"))
	addTask(t, fake, web("10.0.0.2"))
	throttled := ecstest.Throttle(0)
	throttled.For = 30 * time.Second
	synctest.Test(t, func(t *testing.T) {
		now.follow()
		p := newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = direct{fake} })
		kept := discovery.LastGood(p, slog.New(slog.DiscardHandler))
		for _, before := range []string{"nothing", "the list"} {
			fake.Inject(throttled)
			start := time.Now()
			failures := 0
			for ; ; failures++ {
				list, err := kept.Peers(t.Context())
				if before == "the list" && (err != nil || !slices.Equal(list, []string{"10.0.0.2:7946"})) {
					t.Fatalf("the last list is not kept: %q, %v", list, err)
				}
				if _, err = p.Peers(t.Context()); err == nil {
					break
				}
				if !errors.Is(err, ecs.ErrTemporary) {
					t.Fatalf("error is %v, want ErrTemporary", err)
				}
				time.Sleep(rand.N(5 * time.Second))
			}
			if took := time.Since(start); failures == 0 || took < 30*time.Second || took > 50*time.Second {
				t.Errorf("knowing %s before: %d failures, and an answer after %v, want one soon after 30s", before, failures, took)
			}
			wantPeers(t, kept, "10.0.0.2:7946")
		}
	})
}

// A hundred nodes that all start at once, at the pace of package cluster's loop: for a minute there
// is throttling, which the loop rides out, and then none any more.
func TestAHundredNodesStayWithinTheBudget(t *testing.T) {
	t.Parallel()
	const nodes, settled, long = 100, 2 * time.Minute, 30 * time.Minute
	now := &virtualClock{}
	fake := newFake(t, ecstest.Config{Now: now.Now, Budget: true})
	tasks := make([]*ecstest.Task, nodes)
	for i := range tasks {
		tasks[i] = addTask(t, fake, web(netip4(i)))
	}
	synctest.Test(t, func(t *testing.T) {
		now.follow()
		start := time.Now()
		var done sync.WaitGroup
		var mu sync.Mutex
		var lastFailure time.Duration
		before := 0
		for _, task := range tasks {
			p := newProvider(t, task, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = direct{fake} })
			done.Go(func() {
				for time.Since(start) < long {
					list, err := p.Peers(t.Context())
					pause := time.Duration(float64(nodes*time.Second) * (0.8 + 0.4*rand.Float64()))
					if err != nil {
						pause = 4*time.Second + rand.N(2*time.Second)
						mu.Lock()
						lastFailure = max(lastFailure, time.Since(start))
						mu.Unlock()
					} else if len(list) != nodes-1 {
						t.Errorf("a list has %d tasks", len(list))
					}
					time.Sleep(pause)
				}
			})
		}
		time.Sleep(settled)
		before = fake.Calls("")
		done.Wait()
		if lastFailure > settled {
			t.Errorf("there was a failure %v after the start", lastFailure)
		}
		calls := fake.Calls("") - before
		if rate := float64(calls) / (long - settled).Seconds(); rate > 2 {
			t.Errorf("%.1f calls a second, want at most 2 of the account's 20", rate)
		} else {
			t.Logf("%.2f calls a second; the last one was throttled %v after the start", rate, lastFailure)
		}
	})
}
