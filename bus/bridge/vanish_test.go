package bridge_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/bus/bustest"
)

// footprint is what the process has.
type footprint struct {
	goroutines int
	heap       uint64
}

func takeFootprint() footprint {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools have kept over the first
	runtime.ReadMemStats(&m)
	return footprint{runtime.NumGoroutine(), m.HeapAlloc}
}

// backTo waits until the process has about what it had before. A test that calls it is not
// parallel: then no other runs.
func backTo(t *testing.T, before footprint) {
	t.Helper()
	const slack = 1 << 20
	var now footprint
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if now = takeFootprint(); now.goroutines <= before.goroutines && now.heap <= before.heap+slack {
			return
		}
	}
	t.Errorf("%d goroutines and %d KB are left of %d and %d", now.goroutines, now.heap>>10, before.goroutines, before.heap>>10)
}

// Clients that come and go by a reset, thousands of them, leave nothing: no consumer, no
// goroutine and no memory.
func TestResets(t *testing.T) {
	for _, c := range []struct {
		tr          string
		short, long int
	}{{"tcp", 400, 10_000}, {"websocket", 100, 2_000}, {"sockjs", 100, 2_000}} {
		t.Run(c.tr, func(t *testing.T) {
			eb := bustest.NewBus(t)
			s := newSetup(t, eb, bridge.Config{Rules: everything})
			n := c.long
			if testing.Short() {
				n = c.short
			}
			s.reset(t, c.tr, 50) // so that all is warm
			none := func() bool {
				st := s.bridge.Stats()
				return st.Clients == 0 && st.Consumers == 0 && st.Requests == 0 && st.Unanswered == 0 && len(eb.Addresses()) <= 1
			}
			within(t, "nothing is left", none)
			before := takeFootprint()
			s.reset(t, c.tr, n)
			within(t, "nothing is left", none)
			backTo(t, before)
			if st := s.bridge.Stats(); st.Connected == 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// reset has n clients come and go, some at a time, each in the middle of something.
func (s *setup) reset(t *testing.T, tr string, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range n / 8 {
				conn, err := net.Dial("tcp", s.address(tr))
				if err != nil {
					t.Error(err)
					return
				}
				p := s.over(conn, tr)
				p.write(`{"type":"register","address":"x"}`)
				if i%2 == 0 {
					p.write(`{"type":"send","address":"x","replyAddress":"r","body":1}`)
				}
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
				p.close()
			}
		})
	}
	wg.Wait()
}

// A hundred megabytes that are published to clients which never read take no more memory
// than what their limits say, and when the clients are cut nothing is left.
func TestDeafTakeNoMemory(t *testing.T) {
	for _, address := range []string{"all.x", "news.x"} {
		t.Run(address, func(t *testing.T) {
			eb := bustest.NewBus(t)
			s := newSetup(t, eb, bridge.Config{Rules: news, Limits: bridge.Limits{Write: time.Second, PingTimeout: -1}})
			before := takeFootprint()
			var deaf []peer
			for _, tr := range transports {
				p := s.dial(tr)
				p.write(`{"type":"register","address":"` + address + `"}`)
				deaf = append(deaf, p)
			}
			s.registered(t, len(transports))
			body := strings.Repeat("x", 100<<10)
			const n = 1000
			most := uint64(0)
			for i := range n {
				if err := eb.Publish(t.Context(), address, body); err != nil {
					t.Fatal(err)
				}
				if i%50 == 0 {
					most = max(most, takeFootprint().heap)
				}
			}
			// A window, or an outbox, of about 1 MiB each, what is being written, and what the windows have grown by.
			if limit := before.heap + uint64(len(transports))*4<<20; most > limit {
				t.Errorf("the heap had %d KB, from %d before", most>>10, before.heap>>10)
			}
			within(t, "cut", func() bool { return s.bridge.Stats().Clients == 0 })
			if st := s.bridge.Stats(); st.Slow != uint64(len(transports)) {
				t.Errorf("%+v", st)
			}
			for _, p := range deaf {
				p.close()
			}
			backTo(t, before)
		})
	}
}

// A client whose network dies, with no word to anybody, is closed when nothing has come
// from it for long enough: what it had been asked fails then, and others have its turn.
func TestNetworkDies(t *testing.T) {
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr, func(t *testing.T) {
			t.Parallel()
			closed := make(chan error, 1)
			const patience = 500 * time.Millisecond
			eb := bustest.NewBus(t)
			s := newSetup(t, eb, bridge.Config{
				Rules: everything, Limits: bridge.Limits{PingTimeout: patience, TCPPingTimeout: patience},
				Notify: func(_ *bridge.Client, e bridge.Event) {
					if e.Kind == bridge.Closed {
						closed <- e.Reason
					}
				},
			})
			air := newAir(t, s.address(tr))
			conn, err := net.Dial("tcp", air.l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			p := s.over(conn, tr)
			defer p.close()
			p.write(`{"type":"register","address":"x"}`)
			s.registered(t, 1)
			asked := make(chan error, 1)
			go func() {
				_, err := eb.Request(t.Context(), "x", "are you there?")
				asked <- err
			}()
			p.read()
			air.die()
			for range 10 { // which go into the air
				if err := eb.Publish(t.Context(), "x", strings.Repeat("x", 1000)); err != nil {
					t.Fatal(err)
				}
			}
			if reason := <-closed; !errors.Is(reason, bridge.ErrIdle) {
				t.Errorf("closed for %v", reason)
			}
			var no *bus.ReplyError
			if err := <-asked; !errors.As(err, &no) {
				t.Errorf("what the client had ended with %v", err)
			}
			if err := eb.Send(t.Context(), "x", nil); !errors.Is(err, bus.ErrNoConsumer) {
				t.Errorf("it still has its turn: %v", err)
			}
			within(t, "nothing is left", func() bool { st := s.bridge.Stats(); return st.Clients == 0 && st.Unanswered == 0 })
		})
	}
}

// air carries bytes both ways between clients and an address, until it dies: then it
// carries none, and nobody is told.
type air struct {
	l   net.Listener
	ctx context.Context
	die context.CancelFunc
}

func newAir(t *testing.T, to string) *air {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &air{l: l}
	a.ctx, a.die = context.WithCancel(context.Background())
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() { // one client
		here, err := l.Accept()
		if err != nil {
			return
		}
		there, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		conns = append(conns, here, there)
		wg.Go(func() { a.carry(here, there) })
		wg.Go(func() { a.carry(there, here) })
	})
	t.Cleanup(func() {
		a.die()
		_ = l.Close()
		wg.Wait()
		for _, c := range conns {
			_ = c.Close()
		}
	})
	return a
}

// carry ends when the air dies, or a connection does.
func (a *air) carry(from, to net.Conn) {
	stop := context.AfterFunc(a.ctx, func() { _ = from.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, _ = io.Copy(to, from)
}
