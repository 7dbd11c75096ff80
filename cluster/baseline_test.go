package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/clustertest"
)

// Whatever others did, a node keeps nothing of those who are gone, once gossip has
// forgotten them: an hour after they died.
func TestBaseLine(t *testing.T) {
	t.Parallel()
	rounds := 24
	if testing.Short() || racing {
		rounds = 6
	}
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		time.Sleep(time.Minute)
		before := c.Node(0).Entries()
		for i := range rounds {
			at := c.Start()
			consumer, err := c.Node(at).Bus.Consume("x", bus.HandlerFunc(func(context.Context, *bus.Message) error { return nil }))
			if err != nil {
				t.Fatal(err)
			}
			if err := consumer.Known(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				if _, err := c.Node(0).Bus.Request(t.Context(), "x", nil); err != nil && !errors.Is(err, bus.ErrLinkLost) { // to the last one
					t.Error(err)
				}
			}
			switch i % 4 {
			case 0:
				c.Kill(at)
			case 1:
				c.PowerOff(at)
			case 2:
				c.Reset(0, at)
				_ = c.Node(at).Close()
			case 3:
				c.Silence(at)
				time.Sleep(20 * time.Second)
				c.Heal()
				_ = c.Node(at).Close()
			}
		}
		c.Await("the dead are not counted among the living", 30*time.Second, func() bool { return c.Linked(0, 1, 2) })
		if n := len(c.Node(0).Members()); n < rounds/2 {
			t.Errorf("%d members are listed; nothing is tested", n)
		}
		time.Sleep(100 * time.Minute)
		if after := c.Node(0).Entries(); !maps.Equal(after, before) {
			t.Errorf("entries after %d others are gone: %v, before: %v", rounds, after, before)
		}
	})
}

// rests checks that processes use no more goroutines, files and memory than before,
// once it is quiet. Those who are gone are remembered for a minute, each by one
// goroutine; only the long forms wait for that.
func rests(t *testing.T, before map[*process]Status, gone int) {
	t.Helper()
	limit := 15 * time.Second
	if figures {
		limit, gone = 75*time.Second, 0
	}
	for p, was := range before {
		var now Status
		for end := time.Now().Add(limit); ; pass(50 * time.Millisecond) {
			now = p.status()
			if now.Goroutines <= was.Goroutines+gone+2 && now.Files <= was.Files {
				break
			}
			if time.Now().After(end) {
				t.Errorf("%s: goroutines %d -> %d, files %d -> %d after %v", p.name, was.Goroutines, now.Goroutines, was.Files, now.Files, limit)
				break
			}
		}
		if grown := now.RSS - was.RSS; grown > 24<<20 {
			t.Errorf("%s has grown by %.1f MiB", p.name, mib(grown))
		}
	}
}

// atRest notes what processes use.
func atRest(ps ...*process) map[*process]Status {
	at := map[*process]Status{}
	for _, p := range ps {
		at[p] = p.status()
	}
	return at
}

// Consumers come and go, killed or closed, under load: what the others use is as it
// was, and what of the heap is more is what gossip remembers of the dead.
func testChurn(t *testing.T) result {
	const perDead = 400 // objects
	sender, cs := fleet(t, 2, 0)
	next := 0
	round := func() {
		next++
		p := spawn(t, fmt.Sprint("more-", next), Start{Secret: secret}, sender)
		p.consume(Consume{Address: "work"})
		pass(100 * time.Millisecond)
		if next%2 == 0 {
			p.signal(syscall.SIGKILL)
		} else {
			p.close()
			p.signal(syscall.SIGKILL)
		}
	}
	load := func(rounds int) Tally {
		sender.load(Load{Address: "work", Requests: 300, Sends: 300, Timeout: 10 * time.Second})
		for range rounds {
			round()
		}
		pass(time.Second)
		tally := sender.unload()
		sender.awaitLinked(cs...)
		return tally
	}
	load(4)
	before, heap := atRest(append(cs, sender)...), sender.heap()
	rounds := 8
	if figures {
		rounds = 60
	}
	tally := load(rounds)
	allFailed(t, tally, bus.ErrLinkLost)
	rests(t, before, rounds+4)
	more := int64(sender.heap()) - int64(heap)
	if most := int64(perDead*rounds + 2000 + 3*tally.Requests + 3*tally.Sends); more > most { // the ledger keeps each call
		t.Errorf("%d objects more after %d others came and went, want %d at most", more, rounds, most)
	}
	now := sender.status()
	return result{tally, -1, fmt.Sprintf("%d came and went; goroutines %d -> %d, files %d -> %d, RSS %.1f -> %.1f MiB", rounds,
		before[sender].Goroutines, now.Goroutines, before[sender].Files, now.Files, mib(before[sender].RSS), mib(now.RSS))}
}
