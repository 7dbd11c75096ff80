package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
)

// refusedBy waits until a node tells of a refusal.
func refusedBy(t *testing.T, n *cluster.Node, events <-chan cluster.Event) *cluster.RefusedError {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case e := <-events:
			if e, ok := e.(cluster.Refused); ok {
				return e.Err
			}
		case <-late:
			t.Fatalf("%v told of no refusal", n.Self())
		}
	}
}

// solely reports whether refusals were counted, and for no other reason.
func solely(r cluster.Refusals, reason error) bool {
	var of uint64
	switch reason {
	case cluster.ErrSecret:
		of = r.Secret
	case cluster.ErrCluster:
		of = r.Cluster
	}
	return of > 0 && of == r.Sum()
}

// Nodes that must not be together refuse each other, and both say why.
func TestRefusals(t *testing.T) {
	t.Parallel()
	one, two := cluster.NewSecrets(secret), cluster.NewSecrets("another secret of thirty-two byte")
	for what, c := range map[string]struct {
		there, here cluster.Config
		reason      error
	}{
		"cluster name":              {cluster.Config{}, cluster.Config{Cluster: "other"}, cluster.ErrCluster},
		"cluster name, with secret": {cluster.Config{Secrets: one}, cluster.Config{Secrets: one, Cluster: "other"}, cluster.ErrCluster},
		"wrong secret":              {cluster.Config{Secrets: one}, cluster.Config{Secrets: two}, cluster.ErrSecret},
		"no secret here":            {cluster.Config{Secrets: one}, cluster.Config{}, cluster.ErrSecret},
		"no secret there":           {cluster.Config{}, cluster.Config{Secrets: one}, cluster.ErrSecret},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			there, _ := join(t, c.there)
			thereEvents := there.Events(t.Context())
			here, _ := join(t, c.here, there.Self().Addr)
			hereEvents := here.Events(t.Context())
			for n, events := range map[*cluster.Node]<-chan cluster.Event{there: thereEvents, here: hereEvents} {
				refused := refusedBy(t, n, events)
				t.Log(refused)
				if !errors.Is(refused, c.reason) || refused.Peer == "" {
					t.Errorf("%v: %v, want %v", n.Self(), refused, c.reason)
				}
			}
			if got := here.State(); got != cluster.StateJoining {
				t.Errorf("state %v, want joining: discovery told of another", got)
			}
			if len(here.Members()) != 1 || len(there.Members()) != 1 {
				t.Errorf("members %v and %v", here.Members(), there.Members())
			}
			for _, n := range []*cluster.Node{there, here} { // who is the first to notice depends
				if s := n.Stats(); !solely(s.Refused, c.reason) && !solely(s.RefusedBy, c.reason) {
					t.Errorf("%v: want refusals for %v only: given %+v, received %+v", n.Self(), c.reason, s.Refused, s.RefusedBy)
				}
			}
		})
	}
}

// Rotation: nodes that share any secret are together.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	const next = "the next secret, of thirty-two b"
	a, _ := join(t, cluster.Config{Secrets: cluster.NewSecrets(secret, next)})
	b, _ := join(t, cluster.Config{Secrets: cluster.NewSecrets(next, secret)}, a.Self().Addr)
	eventually(t, "both are linked", func() bool { return linked(a) == 1 && linked(b) == 1 })
	c, _ := join(t, cluster.Config{Secrets: cluster.NewSecrets(next, secret)}, a.Self().Addr)
	eventually(t, "three are linked", func() bool { return linked(a) == 2 && linked(b) == 2 && linked(c) == 2 })
}

// Garbage is closed and counted, and members do not notice.
func TestGarbage(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]cluster.Config{"plain": {}, "secret": {Secrets: cluster.NewSecrets(secret)}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n, _ := join(t, c)
			for _, garbage := range []string{
				"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
				"\xb5\xff\xff\xff\xff",
				"\xb5\x02\x0a\x09",
				"\xb5\x0d\x0a\x06runrig\x12\x03a b", // a name that is none
				"\x20\x01\x02",
				"\xff",
			} {
				conn, err := net.Dial("tcp", n.Self().Addr)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprint(conn, garbage)
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				for err == nil {
					_, err = conn.Read(make([]byte, 512))
				}
				if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
					t.Errorf("%q was not closed", garbage)
				}
				_ = conn.Close()
			}
			want := cluster.Stats{Garbage: 6}
			if what == "secret" { // two begin as nodes do that have none
				want = cluster.Stats{Garbage: 3, Refused: cluster.Refusals{Secret: 3}}
			}
			eventually(t, "all are counted", func() bool { return n.Stats() == want })
			m, _ := join(t, c, n.Self().Addr)
			eventually(t, "a member still gets in", func() bool { return linked(m) == 1 })
		})
	}
}

// Silent connections get three seconds, and leave room for members.
func TestSilentStrangers(t *testing.T) {
	t.Parallel()
	secured := clustertest.WithConfig(func(_ int, c *cluster.Config) {
		c.Insecure, c.Secrets, c.Discovery = false, cluster.NewSecrets(secret), discovery.Static()
	})
	clustertest.Run(t, 1, func(t *testing.T, c *clustertest.Cluster) {
		stranger := c.Network().Host(netip.MustParseAddr("10.9.9.9"))
		began := time.Now()
		var conns []net.Conn
		for range 100 {
			conn, err := stranger.Dial(t.Context(), netip.Addr{}, netip.MustParseAddrPort(c.Node(0).Self().Addr))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Error("a stranger that says nothing is told something")
			}
		}
		if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("silent connections were closed after %v, want 3 s", took)
		}
		if got, want := c.Node(0).Stats(), (cluster.Stats{Silent: 32, Crowded: 68}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	}, secured)
}

// A node starts although nobody answers, and joins when somebody does.
func TestNobodyAnswersAtFirst(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	early, _ := join(t, cluster.Config{Name: "early"}, addr)
	if got := early.State(); got != cluster.StateJoining {
		t.Errorf("state %v, want joining", got)
	}
	late, _ := join(t, cluster.Config{Name: "late", Bind: addr})
	eventually(t, "the nodes are linked", func() bool { return linked(early) == 1 && linked(late) == 1 })
	if got := early.State(); got != cluster.StateReady {
		t.Errorf("state %v, want ready", got)
	}
}

// Join's context bounds the call only.
func TestJoinContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	a, _ := join(t, cluster.Config{})
	c := cluster.Config{Bind: "127.0.0.1:0", Logger: logger(), Discovery: slow{a.Self().Addr, make(chan struct{})}}
	time.AfterFunc(20*time.Millisecond, cancel)
	n, err := cluster.Join(ctx, newBus(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if got := n.State(); got != cluster.StateJoining {
		t.Errorf("state %v, want joining", got)
	}
	close(c.Discovery.(slow).free)
	eventually(t, "the node is linked", func() bool { return linked(n) == 1 })
}

// A node with a secret tells strangers nothing of itself.
func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	n, _ := join(t, cluster.Config{Name: "payroll-db", Cluster: "acme-production", Tags: map[string]string{"zone": "internal-tag"}, Secrets: cluster.NewSecrets(secret)})
	c, err := net.Dial("tcp", n.Self().Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = c.Write([]byte{0xB5})
	_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
	b, _ := io.ReadAll(c)
	for _, told := range []string{"payroll-db", "acme-production", "internal-tag", n.Self().Addr} {
		if strings.Contains(string(b), told) {
			t.Errorf("one byte from a stranger made the node tell %q", told)
		}
	}
}
