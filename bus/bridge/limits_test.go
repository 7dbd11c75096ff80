package bridge_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/bus/bustest"
)

// code is the word of an error of a frame.
func word(frame string) string {
	_, rest, _ := strings.Cut(frame, `"type":"err","`)
	_, rest, _ = strings.Cut(rest, `":"`)
	w, _, _ := strings.Cut(rest, `"`)
	return w
}

// A client has so many consumers, so many requests, and addresses so long, and no more;
// what it gives up it can have again.
func TestLimitsOfAClient(t *testing.T) {
	t.Parallel()
	limits := bridge.Limits{Consumers: 2, Requests: 2, Address: 4, ReplyAddress: 2}
	overAll(t, bridge.Config{Rules: everything, Limits: limits}, func(t *testing.T, s *setup, tr string) {
		release := make(chan struct{})
		consume(t, s.eb, "wait", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-release; return nil }))
		p := s.dial(tr)
		refused := func(frame, want string) {
			t.Helper()
			p.write(frame)
			if got := word(p.read()); got != want {
				t.Errorf("%s: %q, want %q", frame, got, want)
			}
		}
		refused(`{"type":"register","address":"abcde"}`, "max_address_length_reached")
		refused(`{"type":"send","address":"wait","replyAddress":"123"}`, "invalid_reply_address")
		p.write(`{"type":"register","address":"a"}`)
		p.write(`{"type":"register","address":"b"}`)
		refused(`{"type":"register","address":"c"}`, "max_handlers_reached")
		p.write(`{"type":"unregister","address":"a"}`)
		p.write(`{"type":"register","address":"c"}`)
		p.write(`{"type":"send","address":"wait","replyAddress":"1"}`)
		p.write(`{"type":"send","address":"wait","replyAddress":"2"}`)
		refused(`{"type":"send","address":"wait","replyAddress":"3"}`, "max_handlers_reached")
		if st := s.bridge.Stats(); st.Consumers != 2 || st.Requests != 2 || st.Invalid != 4 {
			t.Errorf("%+v", st)
		}
		close(release)
		p.read()
		p.read()
		within(t, "no request waits", func() bool { return s.bridge.Stats().Requests == 0 })
		p.write(`{"type":"send","address":"wait","replyAddress":"3"}`)
		if got := p.read(); !strings.Contains(got, `"3"`) {
			t.Errorf("%s", got)
		}
	})
}

// A bridge has so many clients, and these so many consumers, and no more; where some go
// others have room.
func TestLimitsOfAllClients(t *testing.T) {
	t.Parallel()
	overAll(t, bridge.Config{Rules: everything, Limits: bridge.Limits{Clients: 2, AllConsumers: 3}}, func(t *testing.T, s *setup, tr string) {
		a, b := s.dial(tr), s.dial(tr)
		for i, p := range []peer{a, b, a} {
			p.write(fmt.Sprintf(`{"type":"register","address":"%d"}`, i))
			s.registered(t, i+1)
		}
		b.write(`{"type":"register","address":"one more"}`)
		if got := word(b.read()); got != "max_handlers_reached" {
			t.Errorf("the registration was answered %q", got)
		}
		conn, err := net.Dial("tcp", s.address(tr))
		if err != nil {
			t.Fatal(err)
		}
		if tr != "tcp" {
			_, _ = fmt.Fprintf(conn, "GET /eventbus/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		}
		answer := make([]byte, 16)
		if n, _ := conn.Read(answer); tr == "tcp" && n > 0 || tr != "tcp" && !strings.Contains(string(answer[:n]), "503") {
			t.Errorf("a third client was answered %q", answer[:n])
		}
		_ = conn.Close()
		if st := s.bridge.Stats(); st.Full != 1 || st.Clients != 2 || st.Connected != 2 {
			t.Errorf("%+v", st)
		}
		a.close()
		within(t, "gone", func() bool { return s.bridge.Stats().Clients == 1 })
		c := s.dial(tr)
		c.write(`{"type":"register","address":"x"}`)
		s.registered(t, 2)
	})
}

// A client is not idle while the hook is asked whether it may connect.
func TestIdleAfterConnect(t *testing.T) {
	t.Parallel()
	limits := bridge.Limits{PingTimeout: 200 * time.Millisecond, TCPPingTimeout: 200 * time.Millisecond}
	overAll(t, bridge.Config{Rules: everything, Limits: limits, Authorize: func(_ context.Context, _ *bridge.Client, e *bridge.Event) error {
		if e.Kind == bridge.Connect {
			time.Sleep(500 * time.Millisecond)
		}
		return nil
	}}, func(t *testing.T, s *setup, tr string) {
		p := s.dial(tr)
		p.write(`{"type":"send","address":"nobody","replyAddress":"r"}`)
		if got := p.read(); !strings.Contains(got, "NO_HANDLERS") {
			t.Errorf("read %q", got)
		}
	})
}

// A frame that is too long is answered, and the connection ends, whatever length it
// claims, before its memory is taken.
func TestFrameTooLarge(t *testing.T) {
	t.Parallel()
	for _, length := range []uint32{1<<20 + 1, 1 << 31, 1<<32 - 1, 1<<31 - 1} {
		t.Run(fmt.Sprint("tcp ", length), func(t *testing.T) {
			t.Parallel()
			s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: everything})
			p := s.dial("tcp").(*tcpPeer)
			_, _ = p.conn.Write(append(binary.BigEndian.AppendUint32(nil, length), `{"type":"ping"}`...))
			if got := word(p.read()); got != "frame_too_large" {
				t.Errorf("it was answered %q", got)
			}
			if got := p.read(); got != "" {
				t.Errorf("then %s", got)
			}
			p.close()
			within(t, "gone", func() bool { st := s.bridge.Stats(); return st.Clients == 0 && st.Broken == 1 })
		})
	}
	for _, tr := range []string{"websocket", "sockjs"} {
		t.Run(tr, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: everything})
			p := s.dial(tr).(*wsPeer)
			p.write(`{"type":"send","address":"a","body":"` + strings.Repeat("x", 3<<20) + `"}`)
			if got := p.read(); got != "" || websocket.CloseStatus(p.err) != websocket.StatusMessageTooBig {
				t.Errorf("it read %s, %v", got, p.err)
			}
			within(t, "gone", func() bool { st := s.bridge.Stats(); return st.Clients == 0 && st.Broken == 1 })
		})
	}
}

// Frames come whole however they were cut up.
func TestSplitFrames(t *testing.T) {
	t.Parallel()
	s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: everything})
	consume(t, s.eb, "echo", bus.HandlerFunc(echo))
	p := s.dial("tcp").(*tcpPeer)
	for _, size := range []int{10, 4000, 4096, 9000, 100_000} {
		body := `"` + strings.Repeat("y", size) + `"`
		frame := `{"type":"send","address":"echo","replyAddress":"r","body":` + body + `}`
		whole := append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
		whole = append(whole, whole...)
		for step := max(1, len(whole)/97); len(whole) > 0; whole = whole[min(step, len(whole)):] {
			_, _ = p.conn.Write(whole[:min(step, len(whole))])
		}
		for range 2 {
			expect(t, p, `{"type":"message","address":"r","headers":{},"send":true,"body":`+body+`}`)
		}
	}
}

// A frame that has begun has to come whole in time.
func TestFrameTooSlow(t *testing.T) {
	t.Parallel()
	s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: everything, Limits: bridge.Limits{Read: 50 * time.Millisecond}})
	for _, part := range []string{"\x00", "\x00\x00\x00\x10{", "\x00\x01\x00\x00{" + strings.Repeat(" ", 5000)} {
		p := s.dial("tcp").(*tcpPeer)
		_, _ = p.conn.Write([]byte(part))
		if got := word(p.read()); got != "frame_too_slow" {
			t.Errorf("it was answered %q", got)
		}
	}
}

// A WebSocket from which nothing comes is closed; one that pings is not.
func TestIdle(t *testing.T) {
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr, func(t *testing.T) {
			t.Parallel()
			closed := make(chan error, 2)
			s := newSetup(t, bustest.NewBus(t), bridge.Config{
				Rules:  everything,
				Limits: bridge.Limits{PingTimeout: 300 * time.Millisecond, TCPPingTimeout: 300 * time.Millisecond},
				Notify: func(_ *bridge.Client, e bridge.Event) { closed <- e.Reason },
			})
			idle, pinging := s.dial(tr), s.dial(tr)
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(50 * time.Millisecond):
						pinging.write(`{"type":"ping"}`)
					}
				}
			}()
			if got := idle.read(); got != "" {
				t.Errorf("it read %s", got)
			}
			if err := <-closed; !errors.Is(err, bridge.ErrIdle) {
				t.Errorf("closed for %v", err)
			}
			if st := s.bridge.Stats(); st.Idle != 1 || st.Clients != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// What waits for a client when the bridge closes goes to another consumer, what the
// client has not answered fails, and it is told.
func TestClose(t *testing.T) {
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr, func(t *testing.T) {
			t.Parallel()
			eb := bustest.NewBus(t)
			var d diary
			c := d.noting()
			blocks := make(chan struct{})
			c.Authorize = func(ctx context.Context, _ *bridge.Client, e *bridge.Event) error {
				if string(e.Body) == `"block"` {
					close(blocks)
					<-ctx.Done()
				}
				return nil
			}
			s := newSetup(t, eb, c)
			p := s.dial(tr)
			p.write(`{"type":"register","address":"x"}`)
			within(t, "registered", func() bool { return s.bridge.Stats().Consumers == 1 })
			request := func(body string) chan error {
				end := make(chan error, 1)
				go func() {
					_, err := eb.Request(t.Context(), "x", body)
					end <- err
				}()
				return end
			}
			unanswered := request("the client does not answer this")
			p.read()
			blocked := request("block")
			<-blocks
			waiting := request("this waits")
			within(t, "it waits", func() bool { return eb.Stats().Sent == 3 })
			consume(t, eb, "x", bus.HandlerFunc(func(context.Context, *bus.Message) error { return nil }))
			if err := s.bridge.Close(); err != nil {
				t.Error(err)
			}
			if err := <-waiting; err != nil {
				t.Errorf("what waited ended with %v", err)
			}
			for _, end := range []chan error{unanswered, blocked} {
				var no *bus.ReplyError
				if err := <-end; !errors.As(err, &no) {
					t.Errorf("what the client had ended with %v", err)
				}
			}
			if got := p.read(); got != "" {
				t.Errorf("it read %s", got)
			}
			if got := last(d.all()); got != "closed bridge: closed" {
				t.Errorf("the last event is %q", got)
			}
			if err := s.bridge.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A client may have so many requests unanswered; it can answer them in any order, and
// those that it does not answer end by their deadline.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	overAll(t, bridge.Config{Rules: everything, Limits: bridge.Limits{Unanswered: 3}}, func(t *testing.T, s *setup, tr string) {
		c := conversation{p: s.dial(tr)}
		c.write(`{"type":"register","address":"x"}`)
		within(t, "registered", func() bool { return s.bridge.Stats().Consumers == 1 })
		ends := make([]chan error, 4)
		for i := range ends {
			ends[i] = make(chan error, 1)
			go func() {
				timeout := 10 * time.Second
				if i == 1 { // which the client does not answer
					timeout = time.Second
				}
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				got, err := bus.Request[int](ctx, s.eb, "x", i)
				if err == nil && got != i {
					err = fmt.Errorf("%d was the answer to %d", got, i)
				}
				ends[i] <- err
			}()
			if i < 3 {
				c.read()
			}
		}
		if err := <-ends[3]; err == nil || !strings.Contains(err.Error(), "unanswered") {
			t.Error(err)
		}
		for _, i := range []int{2, 0} {
			c.p.write(fmt.Sprintf(`{"type":"send","address":%q,"body":%d}`, c.answers[i], i))
			if err := <-ends[i]; err != nil {
				t.Error(err)
			}
		}
		if err := <-ends[1]; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		within(t, "none is left", func() bool { return s.bridge.Stats().Unanswered == 0 })
		c.p.write(fmt.Sprintf(`{"type":"send","address":%q,"body":1}`, c.answers[1]))
		within(t, "it was late", func() bool { return s.bridge.Stats().LateAnswers == 1 })
	})
}
