package bus

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

func nothing(context.Context, *Message) error { return nil }

// linkTwo links two buses over a pipe, in a bubble.
func linkTwo(t *testing.T) (a, b *EventBus) {
	t.Helper()
	a, b = newQuiet(t), newQuiet(t)
	ca, cb := net.Pipe()
	serve := func(eb *EventBus, self, peer Peer, conn net.Conn) {
		attachment, err := eb.Attach(self, nil)
		if err != nil {
			t.Fatal(err)
		}
		go attachment.ServeLink(context.Background(), peer, conn, nil) // ends when one of them closes
	}
	pa, pb := Peer{Name: "a", Boot: 1}, Peer{Name: "b", Boot: 2}
	serve(a, pa, pb, ca)
	serve(b, pb, pa, cb)
	synctest.Wait()
	if len(a.Peers()) != 1 || len(b.Peers()) != 1 {
		t.Fatal("no link")
	}
	return a, b
}

// Choosing a route and writing to its link is one step: a route that has gone
// since it was chosen takes nothing, and charges nothing.
func TestPostChecksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := linkTwo(t)
		o := outgoing{cost: 128}
		o.head[frame.FKind], o.head[frame.FTimeLeft] = kindSend, 1000
		c := mustConsume(t, b, "x", nothing)
		synctest.Wait()
		rt := a.core.rings.dir.get("x").routes.Load().at(0)
		if !rt.post(&o) {
			t.Fatal("a live route takes nothing")
		}
		c.Close()
		synctest.Wait()
		if rt.post(&o) {
			t.Error("a route took a message after it had gone")
		}
		local := mustConsume(t, a, "y", nothing)
		rt = a.core.rings.dir.get("y").routes.Load().at(0)
		local.Close()
		if rt.post(&o) {
			t.Error("a closed consumer of this node took a message")
		}
	})
}

// Rings of addresses without consumers are forgotten, and numbers are free.
func TestTidy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := linkTwo(t)
		for range 3 {
			c := mustConsume(t, b, "x", nothing)
			synctest.Wait()
			c.Close()
		}
		time.Sleep(time.Second)
		b.core.mu.Lock()
		defer b.core.mu.Unlock()
		if n, free := len(b.core.consumers)-1, len(b.core.free); len(a.core.rings.dir.all()) > 0 || len(b.core.rings.dir.all()) > 0 || n != free {
			t.Errorf("%d and %d rings, %d of %d numbers are left", len(a.core.rings.dir.all()), len(b.core.rings.dir.all()), n-free, n)
		}
	})
}
