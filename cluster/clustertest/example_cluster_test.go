package clustertest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
)

// exampleTB stands for the *testing.T of a test.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (t *exampleTB) Helper()                      {}
func (t *exampleTB) Cleanup(f func())             { t.cleanups = append(t.cleanups, f) }
func (t *exampleTB) Context() context.Context     { return context.Background() }
func (t *exampleTB) Fatal(args ...any)            { panic(fmt.Sprint(args...)) }
func (t *exampleTB) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

func (t *exampleTB) end() {
	for _, f := range t.cleanups {
		f()
	}
}

// three returns a cluster of three, of which the last one answers at "who". In a
// bubble, with Run, what the examples wait for would take no time.
func three(t testing.TB, opts ...clustertest.Option) *clustertest.Cluster {
	c := clustertest.New(t, 3, opts...)
	consumer, err := c.Node(2).Bus.Consume("who", bus.Respond(func(context.Context, any) (string, error) {
		return c.Node(2).Self().Name, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := consumer.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func ask(c *clustertest.Cluster, from int) (string, error) {
	return bus.Request[string](context.Background(), c.Node(from).Bus, "who", nil)
}

// inVain reports whether a request gets no answer for a moment, in which nobody
// has noticed yet that there will be none.
func inVain(c *clustertest.Cluster, from int) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Node(from).Bus.Request(ctx, "who", nil)
	return errors.Is(err, context.DeadlineExceeded)
}

func ExampleNew() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := three(t,
		clustertest.WithSeed(7),
		clustertest.WithConfig(func(node int, conf *cluster.Config) { conf.Name = fmt.Sprint("shop-", node) }),
		clustertest.WithBus(func(node int) []bus.Option { return []bus.Option{bus.WithDrainTimeout(time.Second)} }))
	fmt.Println(c.Len(), c.Linked())
	fmt.Println(ask(c, 0))
	// Output:
	// 3 true
	// shop-2 <nil>
}

// A process is killed: its links end at once, and so do requests to it.
func ExampleCluster_Kill() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := three(t)
	c.Kill(2)
	c.Await("the link has ended", time.Second, func() bool { return len(c.Node(0).Bus.Peers()) == 1 })
	_, err := ask(c, 0)
	fmt.Println(errors.Is(err, bus.ErrNoConsumer))
	// Output: true
}

// Somebody pulls the plug of a host. Nobody is told; its silence has to be
// noticed.
func ExampleCluster_PowerOff() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := three(t)
	c.PowerOff(2)
	fmt.Println(inVain(c, 0)) // after 5 s at most it would be bus.ErrLinkLost
	// Output: true
}

// A process that crashed comes back at its address, as another boot.
func ExampleCluster_Restart() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := three(t)
	c.Kill(2)
	again := c.Restart(2)
	c.Await("the new one is linked", 10*time.Second, func() bool { return len(c.Node(again).Bus.Peers()) == 2 })
	before, after := c.Node(2).Self(), c.Node(again).Self()
	fmt.Println(before.Addr == after.Addr, before.Boot == after.Boot)
	// Output: true false
}

// Nodes are added while the cluster runs, one or several at a moment.
func ExampleCluster_Start() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := clustertest.New(t, 1)
	fmt.Println(c.Start())
	c.StartMany(2)
	c.AwaitLinked()
	fmt.Println(c.Len(), len(c.Node(0).Bus.Peers()))
	// Output:
	// 1
	// 4 3
}

// A partition keeps the two sides apart until it heals. One that lasts ends the
// links between them; the sides go on with what they have, and merge afterwards.
func ExampleCluster_Partition() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := three(t)
	c.Partition([]int{0, 1}, []int{2})
	fmt.Println(inVain(c, 0))
	c.Heal()
	fmt.Println(ask(c, 0))
	// Output:
	// true
	// nodec <nil>
}

// A cable is pulled, and plugged in before anybody has noticed.
func ExampleCluster_Silence() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := three(t)
	c.Silence(2)
	time.AfterFunc(100*time.Millisecond, c.Heal)
	fmt.Println(ask(c, 0)) // late, but answered
	// Output: nodec <nil>
}

// One direction between two nodes is lost; others do not notice.
func ExampleCluster_Block() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := three(t)
	c.Block(2, 0)
	fmt.Println(inVain(c, 0)) // the question arrives; the answer does not
	fmt.Println(ask(c, 1))
	// Output:
	// true
	// nodec <nil>
}

// A link breaks, as by a firewall that was restarted, and is dialled again.
func ExampleCluster_Reset() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := three(t)
	before := c.Node(0).Bus.Peers()
	c.Reset(0, 2)
	c.Await("another link is up", 10*time.Second, func() bool {
		now := c.Node(0).Bus.Peers()
		return len(now) == 2 && !(now[0].Since.Equal(before[0].Since) && now[1].Since.Equal(before[1].Since))
	})
	fmt.Println(ask(c, 0))
	// Output: nodec <nil>
}

// A poor network: packets are lost, come twice, and late. Links lose nothing.
func ExampleNetwork_SetLoss() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := three(t)
	c.Network().SetLoss(0.1)
	c.Network().SetDuplicates(0.1)
	c.Network().SetDelay(func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(10)) * time.Millisecond })
	answered := 0
	for range 20 {
		if _, err := ask(c, 0); err == nil {
			answered++
		}
	}
	fmt.Println(answered)
	// Output: 20
}

// A process that is stopped, as by a debugger or a swapping host, answers late.
func ExampleCluster_Pause() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := three(t)
	c.Pause(2)
	fmt.Println(inVain(c, 0))
	c.Resume(2)
	fmt.Println(ask(c, 0))
	// Output:
	// true
	// nodec <nil>
}

// What a stream carries is lost, and neither end is told.
func ExampleNetwork_Cut() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := three(t)
	c.Network().Cut(c.Node(2).IP, c.Node(0).IP)
	fmt.Println(inVain(c, 0)) // until the link is found dead, and another one is up
	// Output: true
}
