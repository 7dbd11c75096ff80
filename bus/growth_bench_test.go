//go:build unix

package bus_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// BenchmarkGrowth shows what grows with its input and no faster: the CPU time of twice
// as much of each is at most 2.5 times that of half of it. Run it by
//
//	go test ./bus -run '^$' -bench Growth -benchtime 1x
func BenchmarkGrowth(b *testing.B) {
	for _, g := range []struct {
		name string
		n    int
		run  func(*grower)
	}{
		{"register", 20_000, growRegister},
		{"close", 20_000, growClose},
		{"close by key", 20_000, growCloseByKey},
		{"close the bus by key", 16_000, growCloseBus},
		{"close in handlers", 8_000, growCloseInHandlers},
		{"addresses", 100_000, growAddresses},
		{"requests from handlers", 4_000, growRequests},
		{"sends given up", 40_000, growGivenUp},
		{"requests canceled", 8_000, growCanceled},
		{"publish beside laggards", 8_000, growPublish},
		{"sends that wait by turns for one and for any", 40_000, growLanes},
	} {
		b.Run(g.name, func(b *testing.B) {
			half, whole := leastCPU(b, g.n/2, g.run), leastCPU(b, g.n, g.run)
			ratio := whole.Seconds() / half.Seconds()
			b.ReportMetric(ratio, "x/double")
			b.ReportMetric(float64(whole.Milliseconds()), "cpu-ms")
			b.ReportMetric(0, "ns/op")
			if ratio > 2.5 {
				b.Errorf("%d take %v of CPU, %d %v: %.1f times as much", g.n/2, half, g.n, whole, ratio)
			}
		})
	}
}

// grower is one run of a size.
type grower struct {
	*testing.B
	n     int
	began time.Duration
	took  time.Duration
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// leastCPU returns the least that some runs took.
func leastCPU(b *testing.B, n int, run func(*grower)) (least time.Duration) {
	for range 3 {
		g := &grower{B: b, n: n}
		run(g)
		if least == 0 || g.took < least {
			least = g.took
		}
	}
	return least
}

func (g *grower) begin() { g.began = cpuTime() }
func (g *grower) end()   { g.took = cpuTime() - g.began }

func (g *grower) consume(eb *bus.EventBus, address string, h bus.HandlerFunc, opts ...bus.ConsumeOption) *bus.Consumer {
	c, err := eb.Consume(address, h, opts...)
	if err != nil {
		g.Fatal(err)
	}
	return c
}

// register has as many consumers of one address known to another node.
func (g *grower) register() (c *bustest.Cluster, cs []*bus.Consumer) {
	c = bustest.NewCluster(g, 2, quiet)
	g.begin()
	for range g.n {
		cs = append(cs, g.consume(c.Bus(1), "a", nothing))
	}
	if err := cs[g.n-1].Known(context.Background()); err != nil {
		g.Fatal(err)
	}
	g.end()
	return c, cs
}

func (g *grower) await(what string, ok func() bool) {
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			g.Fatal(what, ": not within a minute")
		}
	}
}

func closeBoth(c *bustest.Cluster) {
	_ = c.Bus(1).Close()
	_ = c.Bus(0).Close()
}

func growRegister(g *grower) {
	c, _ := g.register()
	closeBoth(c)
}

func growClose(g *grower) {
	c, cs := g.register()
	defer closeBoth(c)
	g.closeHalf(c, cs)
}

func growCloseByKey(g *grower) {
	c, cs := g.register()
	defer closeBoth(c)
	for i := range 2 {
		if _, err := c.Bus(i).Request(context.Background(), "a", nil, bus.ByKey("k")); err != nil {
			g.Fatal(err)
		}
	}
	g.closeHalf(c, cs)
}

func (g *grower) closeHalf(c *bustest.Cluster, cs []*bus.Consumer) {
	g.begin()
	for _, cn := range cs[:g.n/2] {
		_ = cn.Close()
	}
	g.await("numbers are free", func() bool { return bus.NumbersOf(c.Bus(1)) == g.n/2 })
	g.end()
}

func growCloseBus(g *grower) {
	eb := bus.New(quiet)
	for range g.n {
		g.consume(eb, "a", nothing)
	}
	if _, err := eb.Request(context.Background(), "a", nil, bus.ByKey("k")); err != nil {
		g.Fatal(err)
	}
	g.begin()
	_ = eb.Close()
	g.end()
}

func growCloseInHandlers(g *grower) {
	eb := bus.New(quiet)
	release := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(g.n)
	cs := make([]*bus.Consumer, g.n)
	for i := range g.n {
		cs[i] = g.consume(eb, fmt.Sprint("a", i), func(context.Context, *bus.Message) error {
			_ = cs[i].Close()
			wg.Done()
			<-release
			return nil
		})
	}
	g.begin()
	for i := range g.n {
		if err := eb.Send(context.Background(), fmt.Sprint("a", i), nil); err != nil {
			g.Fatal(err)
		}
	}
	wg.Wait()
	g.end()
	close(release)
	_ = eb.Close()
}

func growAddresses(g *grower) {
	c := bustest.NewCluster(g, 2, quiet)
	defer closeBoth(c)
	g.begin()
	var cs []*bus.Consumer
	for i := range g.n {
		cs = append(cs, g.consume(c.Bus(1), fmt.Sprint("a", i), nothing))
	}
	for _, cn := range cs {
		_ = cn.Close()
	}
	g.await("numbers are free", func() bool { return bus.NumbersOf(c.Bus(1)) == 0 })
	g.end()
}

func growRequests(g *grower) {
	eb := bus.New(quiet, bus.WithMemory(0))
	for range 2 {
		g.consume(eb, "service", nothing)
	}
	start := make(chan struct{})
	var ready, asked sync.WaitGroup
	ready.Add(g.n)
	asked.Add(g.n)
	for i := range g.n {
		g.consume(eb, fmt.Sprint("h", i), func(ctx context.Context, _ *bus.Message) error {
			ready.Done()
			<-start
			defer asked.Done()
			_, err := eb.Request(ctx, "service", make([]byte, 4<<10))
			return err
		})
		if err := eb.Send(context.Background(), fmt.Sprint("h", i), nil); err != nil {
			g.Fatal(err)
		}
	}
	ready.Wait()
	g.begin()
	close(start)
	asked.Wait()
	g.end()
	_ = eb.Close()
}

// stuck has a bus with a consumer that handles nothing.
func (g *grower) stuck(eb *bus.EventBus, opts ...bus.ConsumeOption) {
	g.consume(eb, "stuck", nothing, opts...).Pause()
}

func growGivenUp(g *grower) {
	eb := bus.New(quiet, bus.WithMemory(0), bus.WithDrainTimeout(0))
	g.stuck(eb)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range g.n {
		wg.Go(func() { _ = eb.Send(ctx, "stuck", make([]byte, 1<<10)) })
	}
	g.await("all wait", func() bool { return eb.Addresses()[0].Waiting > g.n*9/10 })
	g.begin()
	cancel()
	wg.Wait()
	g.end()
	_ = eb.Close()
}

func growCanceled(g *grower) {
	c := bustest.NewCluster(g, 2, quiet, bus.WithDrainTimeout(0))
	defer closeBoth(c)
	block := make(chan struct{})
	defer close(block)
	for i := range g.n / 1000 {
		cn := g.consume(c.Bus(1), fmt.Sprint("a", i), func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(16<<20))
		if err := cn.Known(context.Background()); err != nil {
			g.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range g.n {
		wg.Go(func() { _, _ = c.Bus(0).Request(ctx, fmt.Sprint("a", i%(g.n/1000)), nil) })
	}
	time.Sleep(100 * time.Millisecond)
	g.begin()
	cancel()
	wg.Wait()
	g.end()
}

func growPublish(g *grower) {
	c := bustest.NewCluster(g, 2, quiet)
	defer closeBoth(c)
	for i := range g.n {
		cn := g.consume(c.Bus(1), "a", nothing, bus.WithWindow([]int{1 << 10, 1 << 20}[i%2]))
		if i%2 == 0 {
			cn.Pause()
		}
		if i == g.n-1 {
			_ = cn.Known(context.Background())
		}
	}
	publish := func(body int) {
		before := c.Bus(1).Stats().Handled
		if err := c.Bus(0).Publish(context.Background(), "a", make([]byte, body), bus.NoWait()); err != nil {
			g.Fatal(err)
		}
		g.await("it is handled", func() bool { return c.Bus(1).Stats().Handled >= before+uint64(g.n/2) })
	}
	for range 4 { // those that are paused are full now
		publish(600)
	}
	g.begin()
	for range 10 {
		publish(100)
	}
	g.end()
}

// growLanes has sends wait for the consumer of a key by turns with others, which have
// no room when that has.
func growLanes(g *grower) {
	c := bustest.NewCluster(g, 2, quiet, bus.WithDrainTimeout(0))
	defer closeBoth(c)
	g.consume(c.Bus(0), "a", nothing, bus.LocalOnly()).Pause()
	owner := g.consume(c.Bus(1), "a", nothing)
	owner.Pause()
	if err := owner.Known(context.Background()); err != nil {
		g.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var keyed, local sync.WaitGroup
	for range g.n / 2 {
		keyed.Go(func() { _ = c.Bus(0).Send(ctx, "a", make([]byte, 1<<10), bus.ByKey("k")) })
		local.Go(func() { _ = c.Bus(0).Send(ctx, "a", make([]byte, 1<<10), bus.LocalOnly()) })
	}
	g.await("all wait", func() bool { return c.Bus(0).Addresses()[0].Waiting > g.n*9/10 })
	g.begin()
	owner.Resume()
	keyed.Wait()
	g.end()
	cancel()
	local.Wait()
}
