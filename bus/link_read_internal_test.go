package bus

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// A link that was busy gives back what it has read into, once it has had little to read
// for a while.
func TestIdleLinkGivesMemoryBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newQuiet(t).core
		ours, theirs := net.Pipe()
		defer theirs.Close()
		l := c.newLink(Peer{Boot: 2}, ours, nil)
		r := newReceiver(l)
		ended := make(chan error, 1)
		go func() { ended <- r.read() }()
		write := func(b []byte) {
			if _, err := theirs.Write(b); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		r.run = new(run) // as if messages had come
		var pads []byte
		for len(pads) < 16<<10 {
			pads = frame.Append(pads, frame.Ping, &frame.Head{frame.FClock: 1}, nil, nil, 0)
		}
		write(pads)
		if len(r.in) < 8<<10 {
			t.Fatalf("it reads much into %d bytes", len(r.in))
		}
		for range 7 {
			time.Sleep(time.Second)
			write(frame.Append(nil, frame.Ping, &frame.Head{frame.FClock: 1}, nil, nil, 0))
		}
		if len(r.in) > readFirst || r.run != nil {
			t.Errorf("an idle link reads into %d bytes, and keeps memory of a run: %v", len(r.in), r.run != nil)
		}
		_ = theirs.Close()
		<-ended
		l.fail(context.Canceled)
	})
}
