package verticle_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/verticle"
)

// clustered runs a test on n linked buses in virtual time.
func clustered(t *testing.T, n int, f func(t *testing.T, c *bustest.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, bustest.NewCluster(t, n, bus.WithLogger(quiet))) })
}

// consumes is a verticle with an echo at each address.
func consumes(addresses ...string) verticle.Verticle {
	return verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		for _, a := range addresses {
			if _, err := d.Consume(a, echo); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestDeployIsKnown: when Deploy has returned all linked nodes find the
// consumers, however far away they are.
func TestDeployIsKnown(t *testing.T) {
	t.Parallel()
	const delay = 100 * time.Millisecond
	clustered(t, 3, func(t *testing.T, c *bustest.Cluster) {
		for i := range 3 {
			for j := range 3 {
				if i != j {
					c.Conn(i, j).SetDelay(func() time.Duration { return delay })
				}
			}
		}
		began := time.Now()
		d := deploy(t, c.Bus(0), consumes("a", "b"))
		if took := time.Since(began); took < 2*delay || took > 3*delay {
			t.Errorf("Deploy took %v; want a round trip", took)
		}
		for i := range 3 {
			wantConsumer(t, c.Bus(i), "a")
			wantConsumer(t, c.Bus(i), "b")
		}
		undeploy(t, d)
		time.Sleep(2 * delay)
		for i := range 3 {
			wantNoConsumer(t, c.Bus(i), "a")
		}
	})
}

// TestDeployWaitsASecond: for all consumers and nodes together; then it says who
// does not know what, and goes on.
func TestDeployWaitsASecond(t *testing.T) {
	t.Parallel()
	clustered(t, 3, func(t *testing.T, c *bustest.Cluster) {
		c.Conn(1, 0).Stall()
		var text bytes.Buffer
		began := time.Now()
		d := deploy(t, c.Bus(0), consumes("a", "b"), verticle.WithLogger(slog.New(slog.NewTextHandler(&text, nil))))
		if took := time.Since(began); took != time.Second {
			t.Errorf("Deploy took %v; want 1 s", took)
		}
		for _, want := range []string{"level=WARN", `address="[a b]"`, "n1 does not know"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("log %q; want %q in it", text.String(), want)
			}
		}
		wantConsumer(t, c.Bus(2), "a")
		c.Conn(1, 0).Resume()
		undeploy(t, d)

		c.Conn(1, 0).Stall()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		d, err := verticle.Deploy(ctx, c.Bus(0), consumes("a"), verticle.WithLogger(quiet))
		if err != nil {
			t.Fatalf("%v; want that the wait's end is no error", err)
		}
		c.Conn(1, 0).Resume()
		undeploy(t, d)
	})
}

// TestRollingReplacement: while requests and sends come in from other nodes a
// verticle is undeployed and deployed again, on one node after the other.
// Nothing fails, and nothing is lost.
func TestRollingReplacement(t *testing.T) {
	t.Parallel()
	clustered(t, 4, func(t *testing.T, c *bustest.Cluster) {
		for i := range 4 {
			for j := range 4 {
				if i != j {
					c.Conn(i, j).SetDelay(func() time.Duration { return time.Millisecond })
				}
			}
		}
		var mu sync.Mutex
		seen := map[string]int{}
		worker := func() *part {
			return &part{start: func(_ context.Context, d *verticle.Deployment) error {
				_, err := d.Consume("work", bus.Respond(func(_ context.Context, s string) (string, error) {
					time.Sleep(2 * time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					seen[s]++
					return s, nil
				}))
				return err
			}}
		}
		deployments := []*verticle.Deployment{deploy(t, c.Bus(0), worker()), deploy(t, c.Bus(1), worker())}
		stop := make(chan struct{})
		sent := 0
		var wg sync.WaitGroup
		for i := 2; i < 4; i++ {
			wg.Go(func() {
				for n := 0; !isClosed(stop); n++ {
					job := fmt.Sprint(i, "/", n)
					if n%2 == 0 {
						if err := c.Bus(i).Send(t.Context(), "work", job); err != nil {
							t.Errorf("send: %v", err)
						}
					} else if _, err := c.Bus(i).Request(t.Context(), "work", job); err != nil {
						t.Errorf("request: %v", err)
					}
					time.Sleep(time.Millisecond)
					mu.Lock()
					sent++
					mu.Unlock()
				}
			})
		}
		for round := range 20 {
			time.Sleep(20 * time.Millisecond)
			undeploy(t, deployments[round%2])
			deployments[round%2] = deploy(t, c.Bus(round%2), worker())
		}
		close(stop)
		wg.Wait()
		time.Sleep(time.Second)
		for _, d := range deployments {
			undeploy(t, d)
		}
		if len(seen) != sent || sent < 100 {
			t.Errorf("%d of %d were handled", len(seen), sent)
		}
		for job, n := range seen {
			if n != 1 {
				t.Errorf("%s was handled %d times", job, n)
			}
		}
	})
}
