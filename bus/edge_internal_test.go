package bus

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"
)

// GOODBYE that comes while a caller writes inline ends the link all the same.
func TestGoodbyeDuringInlineWrite(t *testing.T) {
	a := New(WithLogger(slog.New(slog.DiscardHandler)))
	la, _ := a.Attach(Peer{Name: "a", Boot: 1}, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ca, _ := net.Dial("tcp", ln.Addr().String())
	cb, _ := ln.Accept() // the peer is played by hand
	go io.Copy(io.Discard, cb)
	up, served := make(chan int), make(chan error, 1)
	go func() { served <- la.Serve(context.Background(), Peer{Name: "b", Boot: 2}, ca, func() { close(up) }) }()
	cb.Write([]byte{frameRoutes<<3 | 2, 4, 1 << 3, 1, 4 << 3, 1}) // seq 1, last
	<-up
	time.Sleep(50 * time.Millisecond)
	var l *link
	a.core.mu.Lock()
	for l = range a.core.links {
	}
	a.core.mu.Unlock()
	// A caller's inline write: the kernel has the bytes, the peer answers before the caller goes on.
	entered, goon := make(chan int), make(chan int)
	l.mu.Lock()
	try := l.tryOnce
	l.tryOnce = func(fd uintptr) bool { try(fd); close(entered); <-goon; return true }
	l.frameLocked(framePong, &head{})
	l.mu.Unlock()
	go l.flush()
	<-entered
	cb.Write([]byte{frameGoodbye<<3 | 2, 0})
	cb.(*net.TCPConn).CloseWrite()
	time.Sleep(100 * time.Millisecond) // the reader and the writer see it
	close(goon)
	select {
	case <-served:
	case <-time.After(5 * time.Second):
		t.Error("Serve has not returned 5 s after GOODBYE; Close of the bus would not either")
	}
}

// slowClose takes its time to close, in which the heartbeat fires.
type slowClose struct {
	net.Conn
}

func (c slowClose) Close() error {
	err := c.Conn.Close()
	time.Sleep(10 * time.Millisecond) // the reader ends, and stops the heartbeat, meanwhile
	return err
}

// The heartbeat of a link that has ended is over.
func TestHeartbeatEnds(t *testing.T) {
	t.Parallel()
	c := New(WithLogger(slog.New(slog.DiscardHandler))).core
	x, y := net.Pipe()
	go io.Copy(io.Discard, y) // a peer that reads and says nothing
	lc := make(chan *link, 1)
	time.AfterFunc(time.Second, func() {
		c.mu.Lock()
		for l := range c.links {
			lc <- l
		}
		c.mu.Unlock()
	})
	t.Log(c.serve(context.Background(), Peer{Boot: 2}, slowClose{x}, nil))
	l := <-lc
	was := l.lastPing.Load()
	time.Sleep(2 * time.Second)
	if l.lastPing.Load() != was {
		t.Error("the heartbeat of a link that has ended goes on")
	}
}
