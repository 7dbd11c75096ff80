package bus

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"
)

// linkTwo links two buses over a pipe.
func linkTwo(t *testing.T) (a, b *EventBus) {
	t.Helper()
	a, b = New(WithLogger(slog.New(slog.DiscardHandler))), New(WithLogger(slog.New(slog.DiscardHandler)))
	la, err := a.Attach(Peer{Name: "a", Boot: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	lb, err := b.Attach(Peer{Name: "b", Boot: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ca, cb := net.Pipe()
	up, ended := make(chan struct{}, 2), make(chan struct{}, 2)
	serve := func(l *Links, peer Peer, conn net.Conn) {
		_ = l.Serve(context.Background(), peer, conn, func() { up <- struct{}{} })
		ended <- struct{}{}
	}
	go serve(la, Peer{Name: "b", Boot: 2}, ca)
	go serve(lb, Peer{Name: "a", Boot: 1}, cb)
	t.Cleanup(func() {
		a.Close()
		b.Close()
		<-ended
		<-ended
	})
	for range 2 {
		select {
		case <-up:
		case <-time.After(10 * time.Second):
			t.Fatal("no link")
		}
	}
	return a, b
}

// Choosing a route and writing to its link is one step: a route that has gone
// since it was chosen takes nothing, and charges nothing.
func TestPostChecksAgain(t *testing.T) {
	a, b := linkTwo(t)
	c, err := b.Consume("x", HandlerFunc(func(context.Context, *Message) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
	rt := (*a.core.dir.get("x").routes.Load())[0]
	o := outgoing{cost: 128}
	o.head[fKind], o.head[fTimeLeft] = kindSend, 1000
	if !rt.post(&o) {
		t.Fatal("a live route takes nothing")
	}
	c.Close()
	for end := time.Now().Add(10 * time.Second); len(*a.core.ringFor("x").routes.Load()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the route stays")
		}
	}
	if rt.post(&o) {
		t.Error("a route took a message after it had gone")
	}
	local, err := a.Consume("y", HandlerFunc(func(context.Context, *Message) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	rt = (*a.core.dir.get("y").routes.Load())[0]
	local.Close()
	if rt.post(&o) {
		t.Error("a closed consumer of this node took a message")
	}
}

// ringFor returns the ring of an address, an empty one if there is none.
func (c *core) ringFor(address string) *ring {
	if r := c.dir.get(address); r != nil {
		return r
	}
	return newRing(c, address)
}

// Rings of addresses without consumers are forgotten.
func TestTidy(t *testing.T) {
	a, b := linkTwo(t)
	for range 3 {
		c, err := b.Consume("x", HandlerFunc(func(context.Context, *Message) error { return nil }))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Known(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		b.core.mu.Lock()
		numbers, free := len(b.core.consumers)-1, len(b.core.free)
		b.core.mu.Unlock()
		if len(a.core.dir.all()) == 0 && len(b.core.dir.all()) == 0 && numbers == free {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d and %d rings, %d of %d numbers are left", len(a.core.dir.all()), len(b.core.dir.all()), numbers-free, numbers)
		}
	}
}
