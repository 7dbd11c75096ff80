package cluster_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
)

var disorderSeed = flag.Uint64("disorder.seed", 0, "the seed of TestProcesses' disorder; drawn if 0")

// disorder does things to consumers at random.
type disorder struct {
	t      *testing.T
	rng    *rand.Rand
	sender *process
	cs     []*process
	ended  []*process // closed, and still there to be asked
	next   int
	did    map[string]int
}

// Processes are killed, stopped, closed and started at random under load. Each
// request ends once, in time and typed; nothing is handled twice or out of order.
func testDisorder(t *testing.T) result {
	seed := *disorderSeed
	if seed == 0 {
		seed = rand.Uint64N(1e6) + 1
	}
	t.Logf("again, as far as it depends on chance here: -disorder.seed=%d", seed)
	d := &disorder{t: t, rng: rand.New(rand.NewPCG(seed, 1)), did: map[string]int{}}
	d.sender, d.cs = fleet(t, 4, 0)
	second := spawn(t, "second", Start{Secret: secret}, d.sender)
	requests := 200
	if figures {
		requests = 1000
	}
	for _, p := range []*process{d.sender, second} {
		p.load(Load{Address: "work", Requests: requests, Sends: requests / 2, Timeout: 8 * time.Second})
	}
	for over := time.After(atLength(6*time.Second, 75*time.Second)); over != nil; {
		d.step()
		select {
		case <-over:
			over = nil
		case <-time.After(time.Duration(d.rng.IntN(800)) * time.Millisecond):
		}
	}
	d.sender.awaitLinked(append(d.cs, second)...)
	second.awaitLinked(append(d.cs, d.sender)...)
	tally, more := d.sender.unload(), second.unload()
	judge(t, append(append(d.cs, d.ended...), d.sender, second)...)
	for _, f := range append(tally.Failed, more.Failed...) {
		if strings.HasPrefix(f.Kind, "untyped") || f.Kind == bus.ErrClosed.Error() {
			t.Errorf("a call failed with %q", f.Kind)
		}
	}
	tally.Failed = append(tally.Failed, more.Failed...)
	tally.Requests += more.Requests
	tally.Replies += more.Replies
	tally.Sends += more.Sends
	return result{tally, -1, fmt.Sprintf("%v; failed %v; slowest call %v", d.did, kinds(tally.Failed), max(tally.Slowest, more.Slowest).Round(time.Millisecond))}
}

func (d *disorder) step() {
	switch d.rng.IntN(4) {
	case 0:
		d.did["killed"]++
		d.take().signal(syscall.SIGKILL)
		d.start()
	case 1:
		d.did["closed"]++
		d.start()
		p := d.take()
		p.close()
		d.ended = append(d.ended, p)
	case 2:
		d.did["stopped"]++
		p := d.cs[d.rng.IntN(len(d.cs))]
		p.freeze()
		pass(time.Duration(d.rng.IntN(int(atLength(1500*time.Millisecond, 8*time.Second)))))
		p.thaw()
	case 3:
		d.did["started"]++
		if len(d.cs) < 6 {
			d.start()
		}
	}
}

// take takes a consumer out of the list.
func (d *disorder) take() *process {
	i := d.rng.IntN(len(d.cs))
	p := d.cs[i]
	d.cs = append(d.cs[:i:i], d.cs[i+1:]...)
	return p
}

func (d *disorder) start() {
	d.next++
	p := spawn(d.t, fmt.Sprint("more-", d.next), Start{Secret: secret}, d.sender)
	p.consume(Consume{Address: "work"})
	d.cs = append(d.cs, p)
}
