package bus

import (
	"context"
	"io"
	"maps"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// slowClose takes its time to close, in which the heartbeat fires.
type slowClose struct{ net.Conn }

func (c slowClose) Close() error {
	err := c.Conn.Close()
	time.Sleep(10 * time.Millisecond) // the reader ends, and stops the heartbeat, meanwhile
	return err
}

// neverCloses does not close before it is let.
type neverCloses struct {
	net.Conn
	let chan struct{}
}

func (c neverCloses) Close() error {
	<-c.let
	return c.Conn.Close()
}

// A link whose connection takes its time to close holds up no other link's heartbeat.
func TestHeartbeatsGoOnBesideALinkThatCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newQuiet(t).core
		let := make(chan struct{})
		for boot := uint64(2); boot < 4; boot++ {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			go io.Copy(io.Discard, theirs)
			go func() { _ = c.serve(context.Background(), Peer{Boot: boot}, neverCloses{ours, let}, nil) }()
		}
		synctest.Wait()
		c.mu.Lock()
		links := slices.Collect(maps.Keys(c.members.links))
		c.mu.Unlock()
		stays := links[0]
		for range 100 {
			time.Sleep(heartbeat)
			stays.ear.lastRead.Store(c.clock.now()) // it hears of its peer, the other link does not
		}
		if ping := time.Duration(c.clock.now() - stays.lastPing.Load()); ping > 2*pingAfter {
			t.Errorf("the last ping was %v ago", ping)
		}
		close(let)
	})
}

// The goroutine that writes is there only while it has something to do.
func TestWriterOfAnIdleLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newQuiet(t).core
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go io.Copy(io.Discard, theirs)
		go func() { _ = c.serve(context.Background(), Peer{Boot: 2}, ours, nil) }()
		synctest.Wait()
		l := onlyLink(t, c)
		runs := func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.runs
		}
		look := func() {
			time.Sleep(heartbeat)
			synctest.Wait()
			l.ear.lastRead.Store(c.clock.now())
		}
		for range 12 { // and pings meanwhile
			look()
		}
		if runs() {
			t.Error("it waits on a link that is idle")
		}
		for range 2 * briefly {
			l.ping(c.clock.now())
			synctest.Wait()
		}
		look()
		l.ping(c.clock.now())
		synctest.Wait()
		if !runs() {
			t.Error("it has ended on a link that is busy")
		}
		look()
		look()
		if runs() {
			t.Error("it waits on a link that is idle again")
		}
	})
}

// The heartbeat of a link that has ended is over.
func TestHeartbeatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newQuiet(t).core
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go io.Copy(io.Discard, theirs) // a peer that reads and says nothing
		served := make(chan error, 1)
		go func() { served <- c.serve(context.Background(), Peer{Boot: 2}, slowClose{ours}, nil) }()
		synctest.Wait()
		l := onlyLink(t, c)
		if err := <-served; err == nil {
			t.Error("a silent peer has said goodbye")
		}
		was := l.lastPing.Load()
		time.Sleep(2 * time.Second)
		if l.lastPing.Load() != was {
			t.Error("the heartbeat of a link that has ended goes on")
		}
	})
}
