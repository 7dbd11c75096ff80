package cluster_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/long"
)

// insideEnv is set in the process that has a network of its own to play with.
const insideEnv = "RUNRIG_TEST_INSIDE"

// Nodes in processes and network namespaces of their own, joined by a bridge,
// keep the promises whatever happens to the network. It needs Linux and the right
// to make namespaces; each fault that the kernel has no means for is skipped, too.
func TestNetworks(t *testing.T) {
	if os.Getenv(insideEnv) != "" {
		testNetworks(t)
		return
	}
	long.Only(t, "networks take a while")
	if runtime.GOOS != "linux" {
		t.Skip("it needs Linux's namespaces")
	}
	for _, line := range []string{"unshare -Urn ip link add br0 type bridge", "nsenter --version"} {
		if err := tryRun(line); err != nil {
			t.Skip(err)
		}
	}
	cmd := exec.Command("unshare", "-Urn", os.Args[0], "-test.run=^TestNetworks$", "-test.v", "-long", "-figures="+strconv.FormatBool(figures))
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("\n%s", out)
}

func testNetworks(t *testing.T) {
	var faults []fault
	for i, c := range []struct {
		name string
		run  func(t *testing.T, n *bridged) result
	}{
		{"a cable is pulled", testCable},
		{"one direction is lost", testOneWay},
		{"two of five are cut off", testIslands},
		{"a host is replaced at its address", testReplaced},
		{"1 Mbit/s", testNarrow},
		{"5 % of packets lost", testLoss},
	} {
		faults = append(faults, fault{c.name, func(t *testing.T) result { return c.run(t, newBridged(t, i)) }})
	}
	runFaults(t, faults)
}

// bridged is a network of a bridge to which processes are plugged, and one to
// which nobody else is. Its number is in the names of its devices and in its addresses.
type bridged struct {
	t      *testing.T
	number int
	count  int
	ports  map[*process]string
}

func newBridged(t *testing.T, number int) *bridged {
	for _, br := range []string{"near", "far"} {
		mustRun(t, fmt.Sprintf("ip link add %s%d type bridge", br, number))
		mustRun(t, fmt.Sprintf("ip link set %s%d up", br, number))
	}
	return &bridged{t: t, number: number, ports: map[*process]string{}}
}

// spawn starts a process at an address of its own.
func (n *bridged) spawn(name string, others ...*process) *process {
	n.t.Helper()
	ip := fmt.Sprintf("10.77.%d.%d", n.number, n.count+1)
	return n.spawnAt(name, ip, others...)
}

// spawnAt starts a process at an address that nobody has now.
func (n *bridged) spawnAt(name, ip string, others ...*process) *process {
	n.t.Helper()
	n.count++
	port := fmt.Sprintf("v%d-%d", n.number, n.count)
	p, in, out := launch(n.t, name, exec.Command("unshare", "-n", "sh", "-c", `echo ready; read go; exec "$0"`, os.Args[0]))
	if _, err := out.ReadString('\n'); err != nil {
		n.t.Fatal(err)
	}
	pid := strconv.Itoa(p.cmd.Process.Pid)
	mustRun(n.t, "ip link add "+port+" type veth peer name eth1 netns "+pid)
	n.ports[p] = port
	n.plug(p, "near")
	mustRun(n.t, "nsenter -n -t "+pid+" ip addr add "+ip+"/24 dev eth1")
	mustRun(n.t, "nsenter -n -t "+pid+" ip link set eth1 up")
	mustRun(n.t, "nsenter -n -t "+pid+" ip link set lo up")
	if _, err := in.Write([]byte("\n")); err != nil {
		n.t.Fatal(err)
	}
	p.join(in, out, Start{Secret: secret, Bind: ip + ":7946"}, others)
	return p
}

// plug connects a process to one of the bridges.
func (n *bridged) plug(p *process, bridge string) {
	n.t.Helper()
	mustRun(n.t, fmt.Sprintf("ip link set %s master %s%d up", n.ports[p], bridge, n.number))
}

// shape gives a process's port a queueing discipline, or skips.
func (n *bridged) shape(p *process, discipline string) {
	n.t.Helper()
	if err := tryRun("tc qdisc add dev " + n.ports[p] + " root " + discipline); err != nil {
		n.t.Skip("not possible here:", err)
	}
}

// fleet is what fleet of the loopback is.
func (n *bridged) fleet(count int) (sender *process, cs []*process) {
	n.t.Helper()
	sender = n.spawn("sender")
	for i := range count {
		c := n.spawn(fmt.Sprint("consumer-", i), sender)
		c.consume(Consume{Address: "work", Takes: time.Millisecond})
		cs = append(cs, c)
	}
	sender.awaitLinked(cs...)
	return sender, cs
}

// silence runs a fault that makes a consumer unheard, and the end of it.
func (n *bridged) silence(begin, end func(p *process)) result {
	const noticed, healed = 5 * time.Second, 15 * time.Second
	t := n.t
	t.Helper()
	sender, cs := n.fleet(3)
	sender.load(Load{Address: "work", Requests: 200, Sends: 50, Timeout: 10 * time.Second})
	pass(time.Second)
	cut := time.Now()
	begin(cs[1])
	pass(atLength(8*time.Second, time.Minute))
	mended := time.Now()
	end(cs[1])
	sender.awaitLinked(cs...)
	for _, c := range cs {
		c.awaitLinked(append([]*process{sender}, cs...)...)
	}
	back := time.Since(mended)
	pass(time.Second)
	tally := sender.unload()
	allFailed(t, tally, bus.ErrLinkLost)
	b := brokenAt(t, tally, cs[1])
	if took := b.At.Sub(cut); took > noticed {
		t.Errorf("noticed after %v, want %v", took, noticed)
	}
	if back > healed {
		t.Errorf("linked again after %v, want %v", back, healed)
	}
	for _, f := range tally.Failed {
		if late := f.At.Sub(b.At); late > 100*time.Millisecond && len(tally.Breaks) == 1 {
			t.Errorf("a request failed %v after the link broke", late)
		}
	}
	lost := judge(t, append(cs, sender)...)
	if s := sender.status().Bus; uint64(len(lost)) > s.Unknown {
		t.Errorf("%d lost, of %d unknown", len(lost), s.Unknown)
	}
	return result{tally, len(lost), fmt.Sprintf("link broke after %v, linked again %v after the end", b.At.Sub(cut).Round(time.Millisecond), back.Round(time.Millisecond))}
}

// A node whose cable is pulled is noticed, and is linked again when it is back.
func testCable(_ *testing.T, n *bridged) result {
	return n.silence(func(p *process) { n.plug(p, "far") }, func(p *process) { n.plug(p, "near") })
}

// A node that is heard and does not hear is as good as silent.
func testOneWay(_ *testing.T, n *bridged) result {
	set := func(p *process, to string) {
		mustRun(n.t, strings.ReplaceAll("ip link set "+n.ports[p]+" type bridge_slave learning TO flood TO mcast_flood TO bcast_flood TO fdb_flush", "TO", to))
	}
	return n.silence(func(p *process) { set(p, "off") }, func(p *process) { set(p, "on") })
}

// Two of five are cut off, with a consumer on each side: both sides go on with what
// they have, and are one cluster soon after the end.
func testIslands(t *testing.T, n *bridged) result {
	const healed = 15 * time.Second
	sender, cs := n.fleet(4)
	other := cs[3] // sends too, from the other side
	for _, p := range cs {
		p.awaitLinked(append(cs, sender)...)
	}
	before := atRest(append(cs, sender)...)
	load := Load{Address: "work", Requests: 100, Sends: 50, Timeout: 10 * time.Second}
	sender.load(load)
	other.load(load)
	pass(time.Second)
	n.plug(cs[2], "far")
	n.plug(other, "far")
	sender.awaitLinked(cs[0], cs[1])
	other.awaitLinked(cs[2])
	pass(atLength(5*time.Second, time.Minute))
	apart := other.tally()
	mended := time.Now()
	n.plug(cs[2], "near")
	n.plug(other, "near")
	for _, p := range append(cs, sender) {
		p.awaitLinked(append(cs, sender)...)
	}
	back := time.Since(mended)
	pass(time.Second)
	tally, more := sender.unload(), other.unload()
	tally.Requests, tally.Sends, tally.Failed = tally.Requests+more.Requests, tally.Sends+more.Sends, append(tally.Failed, more.Failed...)
	allFailed(t, tally, bus.ErrLinkLost)
	if back > healed {
		t.Errorf("one cluster after %v, want %v", back, healed)
	}
	if apart.Replies < 100 {
		t.Errorf("the smaller side had %d replies", apart.Replies)
	}
	rests(t, before, 0)
	lost := judge(t, append(cs, sender)...)
	if s, o := sender.status().Bus, other.status().Bus; uint64(len(lost)) > s.Unknown+o.Unknown {
		t.Errorf("%d lost, of %d unknown", len(lost), s.Unknown+o.Unknown)
	}
	return result{tally, len(lost), fmt.Sprintf("both sides went on; linked again %v after the end", back.Round(time.Millisecond))}
}

// A host loses power, and another process is at its address before anybody has
// noticed: connections with the old one are half open.
func testReplaced(t *testing.T, n *bridged) result {
	sender, cs := n.fleet(3)
	sender.load(Load{Address: "work", Requests: 200, Sends: 50, Timeout: 10 * time.Second})
	pass(time.Second)
	n.plug(cs[1], "far")
	cs[1].signal(syscall.SIGKILL)
	ip, _, _ := strings.Cut(cs[1].addr, ":")
	began := time.Now()
	next := n.spawnAt("next", ip, sender)
	next.consume(Consume{Address: "work"})
	sender.awaitLinked(cs[0], cs[2], next)
	took := time.Since(began)
	pass(time.Second)
	tally := sender.unload()
	allFailed(t, tally, bus.ErrLinkLost)
	b := brokenAt(t, tally, cs[1])
	if late := b.At.Sub(began); late > 5*time.Second {
		t.Errorf("the link with the old process broke after %v", late)
	}
	judge(t, sender, cs[0], cs[2], next)
	return result{tally, -1, fmt.Sprintf("the new one is linked and the old link down within %v", took.Round(time.Millisecond))}
}

// A link that is full of bulk stays up, and holds up nobody else.
func testNarrow(t *testing.T, n *bridged) result {
	sender, cs := n.fleet(2)
	far := n.spawn("far", sender)
	far.consume(Consume{Address: "far"})
	flood := n.spawn("flood", sender, far)
	flood.awaitLinked(sender, cs[0], cs[1], far)
	n.shape(far, "tbf rate 1mbit burst 16kb latency 400ms")
	flood.load(Load{Address: "far", Sends: 1000, Senders: 50, Timeout: time.Second, Pad: 4 << 10})
	before := flood.status().RSS
	sender.load(Load{Address: "work", Requests: 200, Sends: 100, Timeout: 5 * time.Second})
	pass(atLength(8*time.Second, time.Minute))
	tally, flooded := sender.unload(), flood.unload()
	allFailed(t, flooded, bus.ErrBusy)
	if len(flooded.Failed) == 0 {
		t.Error("the flood was not held up; nothing is tested")
	}
	if grown := flood.status().RSS - before; grown > 16<<20 {
		t.Errorf("the flooder has grown by %d MiB", grown>>20)
	}
	if len(flooded.Breaks)+len(tally.Breaks) > 0 || len(tally.Failed) > 0 {
		t.Errorf("links that broke: %+v, %+v; others' failures: %v", flooded.Breaks, tally.Breaks, kinds(tally.Failed))
	}
	return result{tally, 0, fmt.Sprintf("%d sends of 4 KiB passed, %d refused busy; the link held", flooded.Sends-len(flooded.Failed), len(flooded.Failed))}
}

// Streams make up for packets that are lost.
func testLoss(t *testing.T, n *bridged) result {
	sender, cs := n.fleet(3)
	for _, p := range append(cs, sender) {
		n.shape(p, "netem loss 5%")
	}
	sender.load(Load{Address: "work", Requests: 200, Sends: 100, Timeout: 10 * time.Second})
	pass(atLength(8*time.Second, time.Minute))
	tally := sender.unload()
	lost := judge(t, append(cs, sender)...)
	if len(tally.Failed) > 0 || len(lost) > 0 {
		t.Errorf("failed %v, lost %d; want none", kinds(tally.Failed), len(lost))
	}
	return result{tally, len(lost), fmt.Sprintf("slowest call %v", tally.Slowest.Round(time.Millisecond))}
}

func tryRun(line string) error {
	args := strings.Fields(line)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", line, err), errors.New(strings.TrimSpace(string(out))))
	}
	return nil
}

func mustRun(t *testing.T, line string) {
	t.Helper()
	if err := tryRun(line); err != nil {
		t.Fatal(err)
	}
}
