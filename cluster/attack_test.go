package cluster_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/internal/long"
)

// Strangers do what they can to a node: garbage, other protocols, lengths that are
// lies, floods, connections that say nothing or one byte a second, packets. It
// does not grow, and serves its member, and a newcomer gets in meanwhile.
func TestAttack(t *testing.T) {
	long.Only(t, "an attack takes a while")
	head := fmt.Sprintf("%-8s %8s %9s %9s %8s %8s %10s %10s %6s", "node", "streams", "packets", "RSS, MiB", "grown", "rate", "goroutines", "files", "lines")
	for _, c := range []struct{ name, secret string }{{"secret", secret}, {"plain", ""}} {
		t.Run(c.name, func(t *testing.T) {
			sideBySide(t)
			t.Logf("\n%s\n%s", head, testAttack(t, c.name, c.secret))
		})
	}
}

func testAttack(t *testing.T, name, secret string) string {
	const share, growth = 0.8, 16 << 20
	target := spawn(t, "target", Start{Secret: secret})
	member := spawn(t, "member", Start{Secret: secret}, target)
	target.consume(Consume{Address: "work"})
	member.awaitLinked(target)
	rate := func(do func()) Tally {
		member.load(Load{Address: "work", Requests: 500, Sends: 500, Timeout: 5 * time.Second})
		do()
		return member.unload()
	}
	base := rate(func() { pass(2 * time.Second) })
	before, lines := target.status(), target.log.len()

	a := newAttack(t, target.addr, secret != "")
	peak, linked := before.RSS, false
	during := rate(func() {
		done := a.run()
		late := spawn(t, "late", Start{Secret: secret}, target, member)
		for running := true; running; {
			select {
			case <-done:
				running = false
			case <-time.After(50 * time.Millisecond):
			}
			peak = max(peak, target.status().RSS)
			linked = linked || len(late.status().Linked) == 2
		}
		late.close()
	})
	lines = target.log.len() - lines
	if !linked {
		t.Error("a newcomer was not linked during the attack")
	}
	if got := perSecond(during) / perSecond(base); got < share || len(during.Failed) > 0 {
		t.Errorf("the member had %.0f%% of its rate, and %v failed; want %.0f%%, none", 100*got, kinds(during.Failed), 100*share)
	}
	if peak-before.RSS > growth {
		t.Errorf("the node has grown by %.1f MiB", mib(peak-before.RSS))
	}
	if lines > 200 {
		t.Errorf("the node logged %d lines", lines)
	}
	a.accounted(target, before)
	after := target.status()
	within(t, 15*time.Second, "goroutines and files are back to where they were", func() bool {
		after = target.status()
		return after.Goroutines <= before.Goroutines+2 && after.Files <= before.Files
	})
	if lost := judge(t, target, member); len(lost) > 0 {
		t.Errorf("%d lost", len(lost))
	}
	t.Logf("%s: counted %+v", name, after.Node)
	return fmt.Sprintf("%-8s %8d %9d %9.1f %8.1f %7.0f%% %4d -> %3d %3d -> %3d %6d", name, a.streams.Load(), a.packets.Load(),
		mib(before.RSS), mib(peak-before.RSS), 100*perSecond(during)/perSecond(base),
		before.Goroutines, after.Goroutines, before.Files, after.Files, lines)
}

// An attack on a node.
type attack struct {
	t       *testing.T
	addr    string
	from    *net.Dialer
	said    []string // what is said on streams
	slow    string   // one byte a second
	gossip  string   // on streams that get as far as gossip, which counts by itself
	streams atomic.Int64
	counted atomic.Int64 // streams that the node must have counted
	packets atomic.Int64
}

func newAttack(t *testing.T, addr string, secured bool) *attack {
	a := &attack{t: t, addr: addr, from: &net.Dialer{Timeout: 5 * time.Second}}
	if l, err := net.Listen("tcp", "127.0.0.66:0"); err == nil { // members live elsewhere
		_ = l.Close()
		a.from.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}
	}
	noise := make([]byte, 16<<10)
	for i := range noise {
		noise[i] = byte(rand.IntN(256))
	}
	noise[0] = 0xff
	a.said = []string{
		string(noise),
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"SSH-2.0-x\r\n",
		"\xb5\xff\xff\xff\xff\x0f",                 // a greeting of 4 GiB
		"\xb5\x80\x80\x80\x80\x80\x80\x80\x80\x80", // of a length that never ends
		"\x16\x03\x01\xff\xff" + string(noise),     // a TLS record that is too large
		"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + string(noise),
		"\x17\x03\x03\x00\x10" + string(noise[:16]), // data before a handshake
		pushPull("runrig", "\xce\x00\x10\x00\x00", "\x00"),
		pushPull("runrig", "\x00", "\xce\x01\x40\x00\x00"),
		pushPull("runrig", "\xd2\xff\xff\xff\xff", "\x00"),
		"\xf4\x06runrig\x09\x82\xa4Algo\x00\xa3Buf\xc6\xff\xff\xff\xff", // compressed, 4 GiB
		"\xf4\x06runrig\x08\x81\xaaUserMsgLen\xce\x01\x40\x00\x00",
	}
	a.gossip, a.slow = pushPull("runrig", "\x00", "\x00"), "\xb5\x20\x0a\x06runrig"
	if secured { // it is garbage then
		a.said, a.gossip, a.slow = append(a.said, a.gossip), "", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03"
	}
	return a
}

// pushPull asks for an exchange of gossip's states; the numbers are MessagePack.
func pushPull(label, nodes, bytes string) string {
	return "\xf4" + string(rune(len(label))) + label + "\x06\x83\xa5Nodes" + nodes + "\xacUserStateLen" + bytes + "\xa4Join\xc2"
}

// run attacks, and closes the channel when it is over.
func (a *attack) run() <-chan struct{} {
	streams, packets := 4200, 20000
	if figures {
		streams, packets = 60000, 500000
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(a.t.Context())
		wg.Go(func() { a.flood(ctx, packets) })
		a.each(streams, 100, a.talk)
		for range 2 { // now the places are taken, too
			a.each(200, 200, a.stall)
		}
		a.each(streams/10, 100, a.talk)
		cancel()
		wg.Wait()
	}()
	return done
}

// each calls f n times, so many at once.
func (a *attack) each(n, atOnce int, f func(i int, c net.Conn)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				c, err := a.from.Dial("tcp", a.addr)
				if err != nil {
					continue // the queue is full
				}
				a.streams.Add(1)
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				f(i, c)
				_ = c.Close()
			}
		})
	}
	wg.Wait()
}

// talk says one of the things, or shakes hands as nobody in particular.
func (a *attack) talk(i int, c net.Conn) {
	switch k := i % (len(a.said) + 2); {
	case k < len(a.said):
		a.counted.Add(1)
		_, _ = io.WriteString(c, a.said[k])
	case k == len(a.said) && a.gossip != "":
		_, _ = io.WriteString(c, a.gossip)
	default:
		a.counted.Add(1)
		_ = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"runrig-bus/1"}}).Handshake()
	}
	_, _ = io.Copy(io.Discard, c)
}

// stall says nothing, or one byte a second of what could be right.
func (a *attack) stall(i int, c net.Conn) {
	a.counted.Add(1)
	if i%2 == 0 {
		for _, b := range []byte(a.slow) {
			if _, err := c.Write([]byte{b}); err != nil {
				break
			}
			pass(time.Second)
		}
	}
	_, _ = io.Copy(io.Discard, c)
}

// flood sends packets of noise.
func (a *attack) flood(ctx context.Context, n int) {
	c, err := net.Dial("udp", a.addr)
	if err != nil {
		a.t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	rng, b := rand.New(rand.NewPCG(1, 2)), make([]byte, 1400)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for a.packets.Load() < int64(n) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for range 50 {
			for i := range b[:64] {
				b[i] = byte(rng.Uint32())
			}
			_, _ = c.Write(b[:1+rng.IntN(len(b)-1)])
			a.packets.Add(1)
		}
	}
}

// accounted checks that the node has counted each stream, with a reason that fits.
func (a *attack) accounted(p *process, before Status) {
	a.t.Helper()
	b := before.Node
	within(a.t, 10*time.Second, "all streams are counted", func() bool {
		s := p.status().Node
		strangers := s.Silent - b.Silent + s.Ended - b.Ended + s.TimedOut - b.TimedOut + s.Garbage - b.Garbage + s.Crowded - b.Crowded +
			s.CrowdedGossip - b.CrowdedGossip + s.Refused.Sum() - b.Refused.Sum() + s.RefusedBy.Sum() - b.RefusedBy.Sum()
		return strangers >= uint64(a.counted.Load())
	})
	s := p.status().Node
	for what, n := range map[string]uint64{
		"nothing said": s.Silent, "not in time": s.TimedOut, "garbage": s.Garbage, "too many": s.Crowded,
		"no secret in common": s.Refused.Secret, "packets": s.BadPackets,
	} {
		if n == 0 {
			a.t.Errorf("never counted: %s; %+v", what, s)
		}
	}
	s.Silent, s.Ended, s.TimedOut, s.Garbage, s.Crowded, s.CrowdedGossip, s.BadPackets, s.GossipBehind = 0, 0, 0, 0, 0, 0, 0, 0
	s.Refused.Secret, s.RefusedBy.Secret = 0, 0
	s.Refused.Duplicate, s.RefusedBy.Duplicate, s.DialErrors = 0, 0, 0 // of the newcomer
	if s != (cluster.Stats{}) {
		a.t.Errorf("counted besides: %+v", s)
	}
}
