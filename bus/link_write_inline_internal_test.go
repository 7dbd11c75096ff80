package bus

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// heldRaw is a connection's raw side whose writes take until they are let go.
type heldRaw struct {
	syscall.RawConn
	l     *link
	letGo chan struct{}
}

func (r *heldRaw) Write(func(fd uintptr) bool) (err error) {
	r.l.wroteNow, err = r.l.conn.Write(r.l.now) // the peer has it
	<-r.letGo
	return err
}

// onlyLink returns the link of a bus that has one.
func onlyLink(t *testing.T, c *core) *link {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.members.links {
		return l
	}
	t.Fatal("no link")
	return nil
}

// GOODBYE that comes while a caller writes inline ends the link all the same.
func TestGoodbyeDuringInlineWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := newQuiet(t)
		attachment, err := eb.Attach(Peer{Name: "a", Boot: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs) // the peer is played by hand
		say := func(b ...byte) {
			if _, err := theirs.Write(b); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		served := make(chan error, 1)
		go func() { served <- attachment.ServeLink(context.Background(), Peer{Name: "b", Boot: 2}, ours, nil) }()
		say(frame.Routes<<3|2, 4, 1<<3, 1, 4<<3, 1) // seq 1, last
		l := onlyLink(t, eb.core)
		raw := &heldRaw{l: l, letGo: make(chan struct{})}
		l.raw = raw
		l.frame(frame.Pong, &frame.Head{})
		go l.flush()
		synctest.Wait()
		say(frame.Goodbye<<3|2, 0) // the peer answers before the caller goes on
		close(raw.letGo)
		synctest.Wait()
		theirs.Close()
		begin := time.Now()
		if err := <-served; err != nil || time.Since(begin) > 0 {
			t.Errorf("ServeLink returned %v after GOODBYE: %v", time.Since(begin), err)
		}
	})
}
