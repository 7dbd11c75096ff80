package bus_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// lingering is a connection whose Close takes its time, as that of TLS may.
type lingering struct {
	*bustest.Conn
	linger time.Duration
}

func (l lingering) Close() error {
	time.Sleep(l.linger)
	return l.Conn.Close()
}

// A consumer that closes while its link has failed, but is not removed yet, leaves
// nothing behind: what waited is counted, its window goes back to the pool, and its
// number may be another's at once.
func TestConsumerClosesOnFailingLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		attachment, _ := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
		ours, theirs := bustest.Pipe()
		p := &playedPeer{Conn: theirs, t: t, eb: eb, attachment: attachment}
		ended := make(chan error, 1)
		go func() {
			ended <- attachment.ServeLink(context.Background(), bus.Peer{Name: "n1", Boot: 2}, lingering{ours, time.Second}, nil)
		}()
		synctest.Wait()
		block := make(chan struct{})
		defer close(block)
		cn, err := eb.Consume("a", growing(func(context.Context, *bus.Message) error { <-block; return nil }))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.say(routesFrame(1, true, nil), ackFrame(2))
		p.grow()
		for range 4 {
			p.say(msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 60000}))
		}
		if bus.PoolMissing(eb) == 0 {
			t.Error("the window has not grown")
		}
		time.Sleep(time.Millisecond)
		attachment.Probe(2)                 // which the peer does not answer
		time.Sleep(1500 * time.Millisecond) // the link has failed, and its connection is closing
		cn.Close()
		if s := eb.Stats(); s.CutOff != 3 {
			t.Errorf("%d of 3 messages that waited are counted as cut off", s.CutOff)
		}
		if n := bus.NumbersOf(eb); n != 0 {
			t.Errorf("%d numbers are in use", n)
		}
		if _, err := eb.Consume("b", bus.HandlerFunc(nothing)); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		<-ended
		time.Sleep(time.Second) // for what closes the connection
		if n := bus.PoolMissing(eb); n != 0 {
			t.Errorf("without a link the pool misses %d bytes", n)
		}
		if s := eb.Stats(); s.CutOff != 3 {
			t.Errorf("in the end %d are counted as cut off", s.CutOff)
		}
		addUp(t, eb)
	})
}

// What is to be sent back over a link that takes nothing, and is not written when
// that breaks, is counted.
func TestSentBackOverStuckLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := playPeerOver(t, []bustest.PipeOption{bustest.WithBuffer(4 << 10)})
		block := make(chan struct{})
		defer close(block)
		cn, err := p.eb.Consume("a", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-block; return nil }))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.say(routesFrame(1, true, nil), ackFrame(2))
		for range 10 {
			p.say(msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 60000, Body: make([]byte, 1000)}))
		}
		cn.Close() // of what is sent back the pipe takes 4 KiB
		synctest.Wait()
		p.Reset()
		<-p.ended
		if s := p.eb.Stats(); s.CutOff < 5 || s.CutOff > 9 {
			t.Errorf("%d of 9 messages are counted as cut off", s.CutOff)
		}
		addUp(t, p.eb)
	})
}

// A peer that lives and acknowledges no routes loses its link: else each consumer
// that comes and goes would be kept on its account.
func TestPeerThatAcknowledgesNoRoutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		p.say(routesFrame(1, true, nil))
		cn, err := p.eb.Consume("a", bus.HandlerFunc(nothing))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cn.Close()
		go func() { _, _ = io.Copy(io.Discard, p) }() // ends with the link
		begin := time.Now()
		for {
			select {
			case err := <-p.ended:
				if took := time.Since(begin); took < 9*time.Minute || took > 11*time.Minute {
					t.Errorf("the link ended after %v", took)
				}
				if err == nil || !strings.Contains(err.Error(), "acknowledged") {
					t.Errorf("the link ended with %v", err)
				}
				if n := bus.NumbersOf(p.eb); n != 0 {
					t.Errorf("%d numbers are in use", n)
				}
				return
			case <-time.After(time.Second):
				if time.Since(begin) > time.Hour {
					t.Fatal("the link holds")
				}
				_, _ = p.Write(stream(t, pingFrame))
			}
		}
	})
}
