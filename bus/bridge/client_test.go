package bridge_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/bus/bustest"
)

// What is sent from the hook that is told of a registration comes to the client.
func TestSendWhenRegistered(t *testing.T) {
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr, func(t *testing.T) {
			t.Parallel()
			eb := bustest.NewBus(t)
			var d diary
			s := newSetup(t, eb, bridge.Config{
				Rules:     everything,
				Authorize: func(_ context.Context, _ *bridge.Client, e *bridge.Event) error { d.note(e); return nil },
				Notify: func(_ *bridge.Client, e bridge.Event) {
					d.note(&e)
					if e.Kind != bridge.Registered {
						return
					}
					if err := eb.Send(context.Background(), e.Address, "welcome"); err != nil {
						t.Error(err)
					}
				},
			})
			p := s.dial(tr)
			p.write(`{"type":"register","address":"x"}`)
			expect(t, p, flavour(tr, `{"type":"message","address":"x","headers":{},"body":"welcome","send":true}`))
			if got := strings.Join(d.all(), ", "); got != `connect, register x, registered x, receive x "welcome"` {
				t.Errorf("the hooks saw %s", got)
			}
		})
	}
}

// A client that goes while its registration is not known to all nodes leaves no consumer
// behind, on any.
func TestGoneWhileRegistering(t *testing.T) {
	t.Parallel()
	c := bustest.NewCluster(t, 2)
	s := newSetup(t, c.Bus(0), bridge.Config{Rules: everything})
	for _, tr := range transports {
		for range 20 {
			p := s.dial(tr)
			p.write(`{"type":"register","address":"x"}`)
			p.close()
		}
	}
	within(t, "nothing is left", func() bool {
		return s.bridge.Stats().Connected == 60 && s.bridge.Stats().Clients == 0 && at(c.Bus(0), "x").Consumers+at(c.Bus(1), "x").Consumers == 0
	})
}

// The hook is told how a client has gone: by itself, or by a connection that broke.
func TestHowAClientGoes(t *testing.T) {
	t.Parallel()
	closed := make(chan error, 1)
	s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: everything, Notify: func(_ *bridge.Client, e bridge.Event) {
		if e.Kind == bridge.Closed {
			closed <- e.Reason
		}
	}})
	bye := func(p peer) { _ = p.(*wsPeer).conn.Close(websocket.StatusNormalClosure, "") }
	for _, c := range []struct {
		name, tr string
		goes     func(peer)
		itself   bool
	}{
		{"closing handshake", "websocket", bye, true},
		{"closing handshake", "sockjs", bye, true},
		{"cut off", "websocket", func(p peer) { p.close() }, false},
		{"cut off", "sockjs", func(p peer) { p.close() }, false},
		{"end of stream", "tcp", func(p peer) { _ = p.(*tcpPeer).conn.(*net.TCPConn).CloseWrite() }, true},
		{"end within a frame", "tcp", func(p peer) {
			_, _ = p.(*tcpPeer).conn.Write([]byte("\x00\x00\x10\x00{"))
			_ = p.(*tcpPeer).conn.(*net.TCPConn).CloseWrite()
		}, false},
		{"reset", "tcp", func(p peer) {
			_ = p.(*tcpPeer).conn.(*net.TCPConn).SetLinger(0)
			p.close()
		}, false},
	} {
		p := s.dial(c.tr)
		p.write(`{"type":"send","address":"nobody","replyAddress":"r"}`)
		p.read() // it is connected
		c.goes(p)
		select {
		case reason := <-closed:
			if (reason == nil) != c.itself {
				t.Errorf("%s, %s: closed for %v", c.name, c.tr, reason)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s, %s: it is not closed", c.name, c.tr)
		}
	}
}

// A request of a client ends in time, also one that it makes by answering a question.
func TestReplyInTime(t *testing.T) {
	t.Parallel()
	overAll(t, bridge.Config{Rules: everything, Limits: bridge.Limits{Reply: 200 * time.Millisecond}}, func(t *testing.T, s *setup, tr string) {
		ended := make(chan struct{})
		defer close(ended)
		consume(t, s.eb, "silent", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-ended; return nil }))
		consume(t, s.eb, "asks", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			answer, err := m.Request(ctx, "two")
			if err != nil {
				return err
			}
			if answer.Verb() != bus.VerbAsk {
				return errors.New("it does not ask")
			}
			<-ended // and leaves what the client asks unanswered
			return nil
		}))
		c := conversation{p: s.dial(tr)}
		late := func(address string) string {
			return flavour(tr, `{"type":"err","address":"r","sourceAddress":"`+address+`","failureCode":-1,"failureType":"TIMEOUT","message":"Timed out after waiting 200(ms) for a reply. address: `+address+`"}`)
		}
		c.write(`{"type":"send","address":"silent","replyAddress":"r","body":1}`)
		expect(t, c.p, late("silent"))
		c.write(`{"type":"send","address":"asks","replyAddress":"q","body":"one"}`)
		if got := c.read(); !strings.Contains(got, `"two"`) {
			t.Fatalf("read %s", got)
		}
		c.write(`{"type":"send","address":"$1","replyAddress":"r","body":"three"}`)
		if got := c.p.read(); !strings.Contains(got, `"address":"r"`) || !strings.Contains(got, "TIMEOUT") {
			t.Errorf("read %s", got)
		}
	})
}
