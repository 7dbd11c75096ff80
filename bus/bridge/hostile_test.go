package bridge_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/bus/bustest"
)

// What is no frame is answered, and the next one is handled.
func TestNonsense(t *testing.T) {
	t.Parallel()
	overAll(t, bridge.Config{Rules: everything}, func(t *testing.T, s *setup, tr string) {
		consume(t, s.eb, "echo", bus.HandlerFunc(echo))
		p := s.dial(tr)
		for _, c := range []struct{ frame, word string }{
			{`{`, "invalid_json"}, {`[]`, "invalid_json"}, {`"a"`, "invalid_json"}, {`1`, "invalid_json"}, {`null`, "invalid_json"}, {`{}{}`, "invalid_json"},
			{`{"type":"send","address":"echo","body":` + strings.Repeat("[", 1001) + strings.Repeat("]", 1001) + `}`, "invalid_json"},
			{`{"type":"send","address":"echo","body":1,"body":2}`, "invalid_json"},
			{`{"type":"send","address":"echo","failureCode":"x"}`, "invalid_json"},
			{`{"type":7,"address":"echo"}`, "invalid_type"}, {`{"type":"SEND","address":"echo"}`, "invalid_type"},
			{`{"type":"send","address":7}`, "missing_address"}, {`{"type":"send","Address":"echo"}`, "missing_address"},
			{`{"type":"send","address":null}`, "missing_address"}, {`{"type":"send","address":""}`, "missing_address"},
			{`{"type":"send","address":"echo","replyAddress":{}}`, "invalid_reply_address"},
			{`{"type":"send","address":"echo","headers":[]}`, "invalid_header"}, {`{"type":"send","address":"echo","headers":{"a":{}}}`, "invalid_header"},
			{`{"type":"send","address":"echo","headers":{"a":[[]]}}`, "invalid_header"}, {`{"type":"send","address":"echo","headers":{"":"x"}}`, "invalid_header"},
			{`{"type":"send","address":"echo","headers":{"timeout":"soon"}}`, "invalid_header"}, {`{"type":"send","address":"echo","headers":{"timeout":-1}}`, "invalid_header"},
			{`{"type":"send","address":"echo","headers":{"localOnly":"perhaps"}}`, "invalid_header"}, {`{"type":"send","address":"echo","headers":{"codecName":"x"}}`, "invalid_header"},
			{`{"type":"send","address":"_runrig.lease","body":1}`, "access_denied"}, {`{"type":"register","address":"_runrig.lease"}`, "access_denied"},
			{`{"type":"send","address":"` + strings.Repeat("a", 256) + `","body":1}`, "not_sent"},
			{`{"type":"publish","address":"` + strings.Repeat("a", 1<<19) + `","body":1}`, "not_sent"},
			{`{"type":"send","address":"echo","headers":{"a":[` + strings.Repeat(`1,`, 1<<17) + `1]}}`, "invalid_header"},
			{`{"type":"send","address":"echo","headers":{"a":"` + strings.Repeat("a", 17<<10) + `"}}`, "not_sent"},
			{`{"type":"register","address":"` + strings.Repeat("a", 256) + `"}`, "max_address_length_reached"},
		} {
			p.write(c.frame)
			got := word(p.read())
			if tr == "tcp" && c.word == "invalid_type" {
				c.word = "unknown_type"
			}
			if got != c.word {
				t.Errorf("%.80s: %q, want %q", c.frame, got, c.word)
			}
		}
		p.write(" {\n\"\\u0074ype\" : \"s\\u0065nd\" , \"address\":\"echo\",\"replyAddress\":\"r\",\"ignored\":[{}],\"body\": [ 1 , {\"a\" : \"\\\"}\"} ] }\t")
		expect(t, p, flavour(tr, `{"type":"message","address":"r","headers":{},"send":true,"body":[1,{"a":"\"}"}]}`))
	})
}

// Bytes that are not UTF-8 are refused where they come from a client, and made text on
// their way to one.
func TestNotUTF8(t *testing.T) {
	t.Parallel()
	s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: everything})
	p := s.dial("tcp")
	p.write("{\"type\":\"send\",\"address\":\"\xff\"}")
	if got := word(p.read()); got != "invalid_json" {
		t.Errorf("it was answered %q", got)
	}
	for _, tr := range transports {
		p := s.dial(tr)
		p.write(`{"type":"register","address":"` + tr + `"}`)
		within(t, "sent", func() bool { return s.eb.Send(t.Context(), tr, json.RawMessage("\"a\xffb\"")) == nil })
		if got := p.read(); !strings.Contains(got, "a\uFFFDb") {
			t.Errorf("%s: %q", tr, got)
		}
	}
}

// Protobuf is not for clients unless a hook makes JSON of it.
func TestBodyWithoutJSON(t *testing.T) {
	t.Parallel()
	type secret struct{ s string }
	codec := bus.WithCodec("secret", func(s secret) ([]byte, error) { return []byte(s.s), nil }, func(b []byte) (secret, error) { return secret{string(b)}, nil })
	for name, hook := range map[string]func(string, *bus.Message) (json.RawMessage, error){
		"default": nil,
		"hook": func(address string, m *bus.Message) (json.RawMessage, error) {
			var s secret
			if err := m.Decode(&s); err != nil {
				return nil, err
			}
			return json.Marshal(s.s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eb := bustest.NewBus(t, codec)
			s := newSetup(t, eb, bridge.Config{Rules: everything, ToClient: hook})
			consume(t, eb, "tell", bus.Respond(func(context.Context, json.RawMessage) (secret, error) { return secret{"psst"}, nil }))
			p := s.dial("tcp")
			p.write(`{"type":"send","address":"tell","replyAddress":"r","body":1}`)
			got := p.read()
			if hook != nil && !strings.Contains(got, `"body":"psst"`) || hook == nil && !strings.Contains(got, `"failureType":"ERROR"`) {
				t.Errorf("the reply is %s", got)
			}
			p.write(`{"type":"register","address":"x"}`)
			within(t, "registered", func() bool { return s.bridge.Stats().Consumers == 1 })
			if hook == nil {
				if _, err := eb.Request(t.Context(), "x", secret{"psst"}); err == nil || !strings.Contains(err.Error(), "ToClient") {
					t.Error(err)
				}
				return
			}
			if err := eb.Send(t.Context(), "x", secret{"psst"}); err != nil {
				t.Fatal(err)
			}
			expect(t, p, `{"type":"message","address":"x","headers":{},"body":"psst","send":true}`)
		})
	}
}

// A client that never reads is cut; meanwhile what is published reaches all others, and
// those that send it wait no longer than for any slow consumer.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	overAll(t, bridge.Config{Rules: everything, Limits: bridge.Limits{Write: 300 * time.Millisecond, PingTimeout: -1}}, func(t *testing.T, s *setup, tr string) {
		deaf, good := s.dial(tr), s.dial(tr)
		for _, p := range []peer{deaf, good} {
			p.write(`{"type":"register","address":"x"}`)
		}
		within(t, "registered", func() bool { return s.bridge.Stats().Consumers == 2 })
		body := strings.Repeat("x", 256<<10)
		want := flavour(tr, `{"type":"message","address":"x","headers":{},"body":"`+body+`","send":false}`)
		for range 100 { // 25 MB, more than sockets hold
			if err := s.eb.Publish(t.Context(), "x", body); err != nil {
				t.Fatal(err)
			}
			if got := good.read(); !same(got, want) {
				t.Fatalf("the other client read %.80s", got)
			}
		}
		within(t, "cut", func() bool { st := s.bridge.Stats(); return st.Clients == 1 && st.Slow == 1 && st.Consumers == 1 })
	})
}

// A client that registers and unregisters all the time is answered, and costs others
// nothing but the time.
func TestRegisterAndUnregister(t *testing.T) {
	t.Parallel()
	overAll(t, bridge.Config{Rules: everything}, func(t *testing.T, s *setup, tr string) {
		consume(t, s.eb, "echo", bus.HandlerFunc(echo))
		p, other := s.dial(tr), s.dial(tr)
		echoes := func(p peer) {
			p.write(`{"type":"send","address":"echo","replyAddress":"r","body":1}`)
			expect(t, p, flavour(tr, `{"type":"message","address":"r","headers":{},"body":1,"send":true}`))
		}
		var stop atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			for !stop.Load() {
				for range 1000 { // no more wait in the sockets at once
					p.write(`{"type":"register","address":"x"}`)
					p.write(`{"type":"unregister","address":"x"}`)
				}
				echoes(p)
			}
		}()
		for range 50 {
			echoes(other)
		}
		stop.Store(true)
		<-done
		if st := s.bridge.Stats(); st.Consumers != 0 || st.Invalid != 0 {
			t.Errorf("%+v", st)
		}
	})
}
