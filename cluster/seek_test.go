package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
)

// journal is a log that can be searched.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// count counts the lines at Info and above that contain all the texts.
func (j *journal) count(texts ...string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		found := true
		for _, s := range texts {
			found = found && strings.Contains(line, s)
		}
		if found {
			n++
		}
	}
	return n
}

// alone starts a node in a bubble, on a network of its own.
func alone(t *testing.T, p discovery.Provider) (*cluster.Node, *journal, *clustertest.Network) {
	t.Helper()
	j := new(journal)
	network := clustertest.NewNetwork(1)
	ip := netip.MustParseAddr("10.1.0.1")
	log := slog.New(slog.NewTextHandler(j, nil))
	n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(log)), cluster.Config{
		Name: "alone", Network: network.Host(ip), Insecure: true, Discovery: p, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.Close()
		time.Sleep(2 * time.Minute) // of virtual time: gossip's last timers
	})
	return n, j, network
}

// A failure of discovery is never an empty answer: it is logged once with its
// cause, and asked again until it works.
func TestDiscoveryFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		var asked atomic.Int32
		broken.Store(true)
		n, j, _ := alone(t, discovery.ProviderFunc(func(context.Context) ([]string, error) {
			asked.Add(1)
			if broken.Load() {
				return nil, errors.New("registry on fire")
			}
			return nil, nil
		}))
		time.Sleep(time.Minute)
		if got := n.State(); got != cluster.StateJoining {
			t.Errorf("state %v while discovery fails, want joining", got)
		}
		if got := j.count("WARN", "registry on fire"); got != 1 {
			t.Errorf("the failure was logged %d times, want once", got)
		}
		if got := asked.Load(); got < 10 || got > 30 {
			t.Errorf("asked %d times in a minute", got)
		}
		broken.Store(false)
		time.Sleep(10 * time.Second)
		if got := n.State(); got != cluster.StateAlone {
			t.Errorf("state %v when discovery knows nobody, want alone", got)
		}
		before := asked.Load()
		time.Sleep(10 * time.Minute)
		if got := asked.Load() - before; got < 15 || got > 30 {
			t.Errorf("asked %d times in ten quiet minutes, want one each 30 s", got)
		}
	})
}

// An error that somebody has to mend is asked about slowly, and said loudly, once,
// even after failures that pass; it is over as soon as it is mended.
func TestDiscoveryIsMisconfigured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Pointer[error]
		var asked atomic.Int32
		set := func(err error) { now.Store(&err) }
		set(errors.New("rate exceeded"))
		n, j, _ := alone(t, discovery.ProviderFunc(func(context.Context) ([]string, error) {
			asked.Add(1)
			return nil, *now.Load()
		}))
		set(fmt.Errorf("asking: %w", discovery.Misconfigured(errors.New("no permission"))))
		time.Sleep(10 * time.Second)
		set(fmt.Errorf("asking: %w", discovery.Misconfigured(errors.New("no permission"))))
		before := asked.Load()
		time.Sleep(10 * time.Minute)
		if got := asked.Load() - before; got < 15 || got > 26 {
			t.Errorf("asked %d times in ten minutes, want one each 30 s", got)
		}
		if w, e := j.count("WARN", "rate exceeded"), j.count("ERROR", "configured wrongly", "no permission"); w != 1 || e != 1 {
			t.Errorf("logged %d and %d times, want each once:\n%s", w, e, j.text.String())
		}
		if got := n.State(); got != cluster.StateJoining {
			t.Errorf("state %v, want joining", got)
		}
		set(nil)
		time.Sleep(40 * time.Second)
		if got := n.State(); got != cluster.StateAlone {
			t.Errorf("state %v when it is mended, want alone", got)
		}
	})
}

// A mistyped address of a fixed list is such an error, too.
func TestMistypedStaticAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, j, _ := alone(t, discovery.Static("10.1.0.2:7946", "10.1.0.3"))
		time.Sleep(time.Minute)
		if got := j.count("ERROR", "configured wrongly", "10.1.0.3"); got != 1 {
			t.Errorf("logged %d times, want once:\n%s", got, j.text.String())
		}
	})
}

// A new node does not believe for a minute that it is alone, since lists lag
// behind; then it asks slowly.
func TestAloneAtFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		n, _, _ := alone(t, discovery.ProviderFunc(func(context.Context) ([]string, error) {
			asked.Add(1)
			return nil, nil
		}))
		if got := n.State(); got != cluster.StateAlone {
			t.Errorf("state %v, want alone", got)
		}
		time.Sleep(time.Minute)
		if got := asked.Load(); got < 12 || got > 20 {
			t.Errorf("asked %d times in the first minute, want one each 5 s or sooner", got)
		}
		time.Sleep(10 * time.Second)
		before := asked.Load()
		time.Sleep(10 * time.Minute)
		if got := asked.Load() - before; got < 15 || got > 26 {
			t.Errorf("asked %d times in ten minutes, want one each 30 s", got)
		}
	})
}

// A provider that never answers holds up neither Join for longer than ten
// seconds nor Close.
func TestDiscoveryHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		var asked atomic.Int32
		began := time.Now()
		n, j, _ := alone(t, discovery.ProviderFunc(func(context.Context) ([]string, error) {
			asked.Add(1)
			<-free // ignores its context
			return nil, nil
		}))
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("Join took %v", took)
		}
		time.Sleep(time.Minute)
		if asked.Load() != 1 || j.count("WARN", "discovery could not be asked") != 1 {
			t.Errorf("asked %d times at once", asked.Load())
		}
		began = time.Now()
		_ = n.Close()
		if took := time.Since(began); took > time.Second {
			t.Errorf("Close took %v", took)
		}
		close(free)
	})
}

// A node that is told of others but reaches none says so once, with the reasons,
// and goes on trying.
func TestNobodyReached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, j, network := alone(t, discovery.Static("10.1.0.1:7946", "10.1.0.2:7946", "10.1.0.3:7946")) // itself, refused, silent
		network.Host(netip.MustParseAddr("10.1.0.2"))
		network.Block(netip.MustParseAddr("10.1.0.3"), netip.MustParseAddr("10.1.0.1"))
		time.Sleep(time.Minute)
		if got := j.count("WARN", "no other node reached", "10.1.0.2:7946", "10.1.0.3:7946"); got != 1 {
			t.Errorf("said %d times, want once:\n%s", got, j.text.String())
		}
		if j.count("10.1.0.1:7946: ") != 0 {
			t.Error("the node complains about itself")
		}
		if got := n.State(); got != cluster.StateJoining {
			t.Errorf("state %v, want joining", got)
		}
	})
}

// A node that leaves before it would have said whom it does not reach says so then.
func TestNobodyReachedInAShortLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, j, network := alone(t, discovery.Static("10.1.0.2:7946"))
		network.Host(netip.MustParseAddr("10.1.0.2")) // refuses
		time.Sleep(time.Second)
		if got := j.count("WARN", "no other node"); got != 0 {
			t.Errorf("%d such warnings in the first second:\n%s", got, j.text.String())
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if got := j.count("WARN", "no other node was reached", "10.1.0.2:7946"); got != 1 {
			t.Errorf("said %d times, want once:\n%s", got, j.text.String())
		}
	})
}

// Silent addresses do not hold up a node that another one answers.
func TestSilentAddresses(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 1, func(t *testing.T, c *clustertest.Cluster) {
		ip := netip.MustParseAddr("10.1.0.1")
		peers := []string{c.Node(0).Self().Addr}
		for _, dead := range []string{"10.2.0.1", "10.2.0.2", "10.2.0.3", "10.2.0.4"} {
			c.Network().Block(ip, netip.MustParseAddr(dead))
			peers = append(peers, dead+":7946")
		}
		log := slog.New(slog.DiscardHandler)
		began := time.Now()
		n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(log)), cluster.Config{
			Network: c.Network().Host(ip), Insecure: true, Discovery: discovery.Static(peers...), Logger: log,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Close() }()
		if took := time.Since(began); took > 500*time.Millisecond || linked(n) != 1 {
			t.Errorf("linked with %d nodes after %v", linked(n), took)
		}
	})
}

// Silent addresses do not add up: however many stand before the one that lives,
// they are asked side by side, eight more each quarter of a second.
func TestSilentAddressesFirst(t *testing.T) {
	t.Parallel()
	for silent, most := range map[int]time.Duration{7: 100 * time.Millisecond, 20: time.Second, 200: 7 * time.Second} {
		t.Run(strconv.Itoa(silent), func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, 1, func(t *testing.T, c *clustertest.Cluster) {
				ip := netip.MustParseAddr("10.1.0.1")
				peers := silentAddresses(c, ip, silent)
				log := slog.New(slog.DiscardHandler)
				began := time.Now()
				n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(log)), cluster.Config{
					Network: c.Network().Host(ip), Insecure: true, Logger: log, Discovery: discovery.Static(append(peers, c.Node(0).Self().Addr)...),
				})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = n.Close() }()
				if took := time.Since(began); took > most+moreAnswers || linked(n) != 1 {
					t.Errorf("linked with %d after %v, want %v", linked(n), took, most)
				}
			})
		})
	}
}

// moreAnswers is how long Join waits for others when one has answered.
const moreAnswers = 260 * time.Millisecond

// silentAddresses makes addresses that never answer a host.
func silentAddresses(c *clustertest.Cluster, ip netip.Addr, count int) (list []string) {
	for i := range count {
		dead := netip.AddrFrom4([4]byte{10, 2, byte(i / 250), byte(i%250 + 1)})
		c.Network().Block(ip, dead)
		list = append(list, dead.String()+":7946")
	}
	return list
}

// However many silent addresses there are, Join returns after 15 s, and the node
// goes on.
func TestManySilentAddresses(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 1, func(t *testing.T, c *clustertest.Cluster) {
		ip := netip.MustParseAddr("10.1.0.1")
		peers := silentAddresses(c, ip, 600)
		j := new(journal)
		log := slog.New(slog.NewTextHandler(j, nil))
		began := time.Now()
		n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(log)), cluster.Config{
			Network: c.Network().Host(ip), Insecure: true, Logger: log, Discovery: discovery.Static(append(peers, c.Node(0).Self().Addr)...),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Close() }()
		if took := time.Since(began); took != 15*time.Second || j.count("WARN", "join is not finished", "within 15s") != 1 {
			t.Errorf("Join took %v, want 15 s:\n%s", took, j.text.String())
		}
		if got := n.State(); got != cluster.StateJoining {
			t.Errorf("state %v, want joining", got)
		}
		c.Await("the one that lives", time.Minute, func() bool { return linked(n) == 1 })
	})
}

// Join waits two seconds for the links with those found, not longer, and says who
// is missing; the link comes when it can.
func TestJoinNamesWhoIsMissing(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		ip := netip.MustParseAddr("10.1.0.1")
		network := c.Network().Host(ip)
		c.Network().Block(c.Node(2).IP, ip)
		j := new(journal)
		log := slog.New(slog.NewTextHandler(j, nil))
		began := time.Now()
		n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(log)), cluster.Config{
			Name: "new", Network: network, Insecure: true, Logger: log,
			Discovery: discovery.Static(c.Node(0).Self().Addr, c.Node(1).Self().Addr),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Close() }()
		if took := time.Since(began); took < 2*time.Second || took > 2500*time.Millisecond {
			t.Errorf("Join took %v, want about 2 s", took)
		}
		if linked(n) != 2 || j.count("WARN", "not yet linked", c.Node(2).Self().String()) != 1 {
			t.Errorf("linked with %d:\n%s", linked(n), j.text.String())
		}
		c.Heal()
		c.Await("the missing link", 6*time.Second, func() bool { return linked(n) == 3 })
	})
}
