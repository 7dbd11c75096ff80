package bus

import (
	"context"
	"io"
	"net"
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
