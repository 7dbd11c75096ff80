package ecs_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// ghostTime is how long goroutines of the gossip library may go on after the end of a node; a bubble
// needs them to end.
const ghostTime = 2 * time.Minute

// ecsCluster is a fake of ECS and n tasks, whose nodes live in memory and in virtual time.
type ecsCluster struct {
	fake    *ecstest.Fake
	tasks   []*ecstest.Task
	network *clustertest.Network
	nodes   []*cluster.Node
}

// inVirtualTime runs f in a bubble in which the nodes of a cluster of n tasks can be joined.
func inVirtualTime(t *testing.T, n int, f func(t *testing.T, c *ecsCluster)) {
	now := &virtualClock{}
	c := &ecsCluster{fake: newFake(t, ecstest.Config{Now: now.Now}), network: clustertest.NewNetwork(1)}
	for i := range n {
		c.tasks = append(c.tasks, addTask(t, c.fake, web(netip4(i))))
	}
	synctest.Test(t, func(t *testing.T) {
		now.follow()
		t.Cleanup(func() { time.Sleep(ghostTime) }) // the last one
		f(t, c)
	})
}

// join starts the node of task i, which asks the API by way of client.
func (c *ecsCluster) join(t *testing.T, i int, client awsClient) *cluster.Node {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	eb := bus.New(bus.WithLogger(quiet))
	n, err := cluster.Join(t.Context(), eb, cluster.Config{
		Discovery: newProvider(t, c.tasks[i], func(cfg *ecs.Config) { cfg.AWS.HTTPClient = client }),
		Network:   c.network.Host(netip.MustParseAddr(c.tasks[i].Address())), Insecure: true, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.Close()
		_ = eb.Close()
	})
	c.nodes = append(c.nodes, n)
	return n
}

type awsClient interface {
	Do(*http.Request) (*http.Response, error)
}

// await waits until every node is linked with count others, and returns how long that took.
func (c *ecsCluster) await(t *testing.T, count int, limit time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	for !c.linked(count) {
		if time.Since(start) > limit {
			t.Fatalf("not all nodes are linked with %d others after %v", count, limit)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return time.Since(start)
}

func (c *ecsCluster) linked(count int) bool {
	return !slices.ContainsFunc(c.nodes, func(n *cluster.Node) bool { return alive(n) != count })
}

// island is a client that is shown only some of the tasks, until it is bridged.
type island struct {
	direct
	ids     []string
	bridged *atomic.Bool
}

func (i island) Do(r *http.Request) (*http.Response, error) {
	resp, err := i.direct.Do(r)
	if err != nil || i.bridged.Load() || !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".ListTasks") {
		return resp, err
	}
	var list struct {
		TaskARNs []string `json:"taskArns"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, err
	}
	list.TaskARNs = slices.DeleteFunc(list.TaskARNs, func(arn string) bool {
		return !slices.Contains(i.ids, arn[strings.LastIndex(arn, "/")+1:])
	})
	body, err := json.Marshal(list)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, err
}

// Islands that have never heard of each other, since lists lagged behind when they started, are
// one cluster within a minute of the moment at which the lists show all.
func TestIslandsMergeWithinAMinute(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string][2]int{"single nodes": {1, 1}, "one and four": {1, 4}, "five each": {5, 5}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := sizes[0] + sizes[1]
			inVirtualTime(t, n, func(t *testing.T, c *ecsCluster) {
				var bridged atomic.Bool
				var ids [2][]string
				side := func(i int) int {
					if i < sizes[0] {
						return 0
					}
					return 1
				}
				for i, task := range c.tasks {
					ids[side(i)] = append(ids[side(i)], task.ID())
				}
				for i := range c.tasks {
					c.join(t, i, island{direct{c.fake}, ids[side(i)], &bridged})
				}
				time.Sleep(5 * time.Minute)
				for i, n := range c.nodes {
					if got, want := alive(n), sizes[side(i)]-1; got != want {
						t.Errorf("before, node %d is linked with %d others, want the %d of its island", i, got, want)
					}
				}
				bridged.Store(true)
				t.Logf("%d nodes are one cluster after %v", n, c.await(t, n-1, time.Minute))
			})
		})
	}
}

// All start while the account is throttled.
func TestThrottledColdStart(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, 3, func(t *testing.T, c *ecsCluster) {
		fault := ecstest.Throttle(0)
		fault.For = 30 * time.Second
		c.fake.Inject(fault)
		start := time.Now()
		for i := range c.tasks {
			c.join(t, i, direct{c.fake})
		}
		c.await(t, 2, time.Minute)
		if took := time.Since(start); took < 30*time.Second || took > 45*time.Second {
			t.Errorf("the cluster was complete %v after the start, want soon after 30s", took)
		}
	})
}

// The API fails for an hour, then a task is replaced: nobody is lost, and the new one joins when
// the API is back.
func TestNobodyIsLostWhenTheAPIFails(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, 4, func(t *testing.T, c *ecsCluster) {
		for i := range 3 {
			c.join(t, i, direct{c.fake})
		}
		c.await(t, 2, 10*time.Second)
		for _, fault := range []ecstest.Fault{
			ecstest.ServerError(0), ecstest.Throttle(0), ecstest.AccessDenied("ListTasks"), {Status: 200, Body: `{"taskArns":[]}`},
		} {
			before := c.fake.Calls("ListTasks")
			c.fake.Inject(fault)
			for range 15 * 60 {
				time.Sleep(time.Second)
				if !c.linked(2) {
					t.Fatalf("a node was lost while the API answers %+v", fault)
				}
			}
			if c.fake.Calls("ListTasks") == before {
				t.Errorf("nobody asked in 15 minutes")
			}
			c.fake.ClearFaults()
		}
		c.fake.Inject(ecstest.ServerError(0))
		c.join(t, 3, direct{c.fake})
		time.Sleep(time.Minute)
		c.fake.ClearFaults()
		c.await(t, 3, 15*time.Second)
	})
}
