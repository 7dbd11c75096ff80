package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// notAnother checks that err says which protobuf message came, and which one it is not.
func notAnother(t *testing.T, what string, err error) {
	t.Helper()
	if text := fmt.Sprint(err); !strings.Contains(text, "google.protobuf.StringValue") || !strings.Contains(text, "*wrapperspb.Int64Value") {
		t.Errorf("%s: %v", what, err)
	}
}

// A protobuf body is decoded into a message of its own name, however it came, and into no
// other one, whose fields it would fit by chance; both sides are told.
func TestProtobufIsNotAnotherMessage(t *testing.T) {
	for _, size := range []int{0, 10, 100 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			both(t, func(t *testing.T, p pair) { testNotAnother(t, p, wrapperspb.String(strings.Repeat("x", size))) })
		})
	}
}

func testNotAnother(t *testing.T, p pair, body *wrapperspb.StringValue) {
	got := make(chan error, 10)
	decodes := func(m *bus.Message) error {
		right, wrong := new(wrapperspb.StringValue), new(wrapperspb.Int64Value)
		if err := m.Decode(right); err != nil || !proto.Equal(right, body) {
			t.Errorf("%s: %v", m.Verb(), err)
		}
		return m.Decode(wrong)
	}
	c := consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
		got <- decodes(m)
		return nil
	})
	for verb, call := range map[string]func() error{
		"Send":    func() error { return p.from.Send(t.Context(), "a", body) },
		"Publish": func() error { return p.from.Publish(t.Context(), "a", body) },
		"Request": func() error { _, err := p.from.Request(t.Context(), "a", body); return err },
	} {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		notAnother(t, verb, <-got)
	}
	if len(body.Value) < 100 {
		if err := p.from.Publish(t.Context(), "a", body, bus.Gossip()); err != nil {
			t.Fatal(err)
		}
		notAnother(t, "Gossip", <-got)
	}

	c.Pause() // and closed: it is sent back
	if err := p.from.Send(t.Context(), "a", body); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	c.Close()
	consume(t, p.from, "a", func(_ context.Context, m *bus.Message) error {
		got <- decodes(m)
		return nil
	})
	notAnother(t, "sent back", <-got)

	consume(t, p.to, "typed", bus.Respond(func(context.Context, *wrapperspb.Int64Value) (*wrapperspb.StringValue, error) {
		t.Error("the handler got another message")
		return nil, nil
	}).Handle)
	_, err := bus.Request[*wrapperspb.StringValue](t.Context(), p.from, "typed", body)
	var no *bus.ReplyError
	if notAnother(t, "Respond", err); !errors.As(err, &no) || no.Code != bus.CodeBody {
		t.Error(err)
	}
	consume(t, p.to, "replies", bus.Respond(func(context.Context, []byte) (*wrapperspb.StringValue, error) { return body, nil }).Handle)
	_, err = bus.Request[*wrapperspb.Int64Value](t.Context(), p.from, "replies", nil)
	notAnother(t, "a reply", err)
	if v, err := bus.Request[*wrapperspb.StringValue](t.Context(), p.from, "replies", nil); err != nil || !proto.Equal(v, body) {
		t.Errorf("a reply: %v", err)
	}
}

// A protobuf body of a node that sends no name with it is decoded as before.
func TestProtobufWithoutAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		got := make(chan error, 1)
		c, err := p.eb.Consume("a", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
			var v wrapperspb.StringValue
			err := m.Decode(&v)
			if v.Value != "x" {
				err = errors.Join(err, fmt.Errorf("it is %q", v.Value))
			}
			got <- err
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p.attachment.ReceiveGossip(marshalGossip(t, &wire.Gossip{Boot: 2, Seq: 1, Sent: 1 << 60, Address: "a", Codec: 2, Body: []byte("\x0a\x01x")}))
		if err := <-got; err != nil {
			t.Error(err)
		}
		p.Reset()
	})
}
