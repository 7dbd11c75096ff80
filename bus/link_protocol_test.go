package bus_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// A frame that breaks a rule ends its link, with a reason; no handler sees it,
// and nothing of the peer is left.
func TestProtocolErrors(t *testing.T) {
	at := func(num uint32, address string, window uint64) *wire.Routes_Added {
		return &wire.Routes_Added{Number: num, Address: address, Window: window}
	}
	msg := func(kind, route uint32) *wire.Frame {
		return msgFrame(&wire.Msg{Kind: kind, Route: route, TimeLeft: 1000})
	}
	bulk := func(id uint64) *wire.Frame { // of a reply to nothing
		return &wire.Frame{Kind: &wire.Frame_Bulk{Bulk: &wire.Bulk{Id: id, Size: 100 << 10, Frame: 2, Fields: []byte{3 << 3, 1}}}}
	}
	for name, c := range map[string]struct {
		frames []*wire.Frame
		raw    string
		want   string // in ServeLink's error
	}{
		"nothing":                   {want: "EOF"},
		"half a frame":              {raw: "\x0a\x05\x08", want: "EOF"},
		"text":                      {raw: "GET / HTTP/1.1\r\n\r\n", want: "malformed frame: tag 71"},
		"unknown frame":             {raw: "\xf2\x01\x00", want: "unknown type 30"},
		"too large":                 {raw: "\x0a\xff\xff\xff\x7f", want: "malformed frame: frame 1 of 268435455 bytes"},
		"broken content":            {raw: "\x0a\x01\x80", want: "malformed frame"},
		"broken routes":             {raw: "\x22\x02\x12\x05", want: "routes"},
		"message of no kind":        {frames: []*wire.Frame{msg(0, 1)}, want: "message of kind 0"},
		"message of unknown kind":   {frames: []*wire.Frame{msg(4, 1)}, want: "message of kind 4"},
		"send to route 0":           {frames: []*wire.Frame{msg(1, 0)}, want: "route 0"},
		"send to no route":          {frames: []*wire.Frame{msg(1, 2)}, want: "route 2"},
		"request to no route":       {frames: []*wire.Frame{msg(2, 1<<20+1)}, want: "route 1048577"},
		"publish to no route":       {frames: []*wire.Frame{msg(3, 7)}, want: "message for route 7"},
		"skipped numbers":           {raw: "\x0a\x09\x08\x03\x10\x01\x52\x03\xff\xff\xff", want: "malformed"},
		"credit for no route":       {frames: []*wire.Frame{creditFrame(9, 1, 1)}, want: "credit for route 9"},
		"credit for nothing":        {frames: []*wire.Frame{creditFrame(1, 0, 1)}, want: "1 messages of 0 bytes settled on route 1"},
		"credit of bytes":           {frames: []*wire.Frame{creditFrame(1, 1, 0)}, want: "0 messages of 1 bytes settled on route 1"},
		"acknowledgement":           {frames: []*wire.Frame{ackFrame(1), ackFrame(1)}, want: "acknowledgement of routes 1"},
		"acknowledgement too early": {frames: []*wire.Frame{ackFrame(3)}, want: "acknowledgement of routes 3"},
		"bounce of no route":        {frames: []*wire.Frame{bounceFrame(&wire.Msg{Kind: 1, Route: 5})}, want: "bounce of kind 1 of route 5"},
		"bounce of a publish":       {frames: []*wire.Frame{bounceFrame(&wire.Msg{Kind: 3, Route: 1})}, want: "bounce of kind 3 of route 1"},
		"removal of no route":       {frames: []*wire.Frame{routesFrame(2, false, []uint32{2})}, want: "removal of route 2"},
		"removal of route 0":        {frames: []*wire.Frame{routesFrame(2, false, []uint32{0})}, want: "removal of route 0"},
		"removal of a removed one":  {frames: []*wire.Frame{routesFrame(2, false, []uint32{1}), routesFrame(3, false, []uint32{1})}, want: "removal of route 1"},
		"route 0":                   {frames: []*wire.Frame{routesFrame(2, false, nil, at(0, "x", 1024))}, want: "route 0"},
		"route over the limit":      {frames: []*wire.Frame{routesFrame(2, false, nil, at(1<<20+1, "x", 1024))}, want: "route 1048577"},
		"route in use":              {frames: []*wire.Frame{routesFrame(2, false, nil, at(1, "x", 1024))}, want: "route 1 is in use"},
		"route twice":               {frames: []*wire.Frame{routesFrame(2, false, nil, at(2, "x", 1024), at(2, "y", 1024))}, want: "route 2 is in use"},
		"window over the limit":     {frames: []*wire.Frame{routesFrame(2, false, nil, at(2, "x", 1<<40+1))}, want: "window of 1099511627777"},
		"empty address":             {frames: []*wire.Frame{routesFrame(2, false, nil, at(2, "", 1024))}, want: "empty address"},
		"long address":              {frames: []*wire.Frame{routesFrame(2, false, nil, at(2, strings.Repeat("x", 256), 1024))}, want: "address of 256 bytes"},
		"third large body":          {frames: []*wire.Frame{bulk(1), bulk(2), bulk(3)}, want: "in chunks, beside 2 others"},
		"large body twice":          {frames: []*wire.Frame{bulk(1), bulk(1)}, want: "in chunks, beside 1 others"},
		"chunk of no large body":    {frames: []*wire.Frame{bulk(1), chunkFrame(2, []byte("x"))}, want: "chunk of 1 bytes that was not asked for"},
		"end after leaving":         {frames: []*wire.Frame{leavingFrame}, want: "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := atProtocol(t)
				if _, err := p.Write(append(stream(t, c.frames...), c.raw...)); err != nil {
					t.Fatal(err)
				}
				p.CloseWrite()
				if err := <-p.ended; err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "n1") {
					t.Errorf("the link ended with %v", err)
				}
				if err := p.eb.Send(t.Context(), "out", nil); !errors.Is(err, bus.ErrNoConsumer) {
					t.Errorf("a ghost took a message: %v", err)
				}
				if len(p.eb.Peers()) > 0 {
					t.Errorf("linked with %v", p.eb.Peers())
				}
			})
		})
	}
}

// atProtocol is a peer whose consumer of "out" the bus knows as route 1. The bus
// has a consumer that may not be reached.
func atProtocol(t *testing.T) *playedPeer {
	t.Helper()
	p := playPeer(t)
	if _, err := p.eb.Consume("in", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error { t.Errorf("handled %x", m.Body); return nil })); err != nil {
		t.Fatal(err)
	}
	p.say(routesFrame(1, true, nil, out(1, 1<<10)))
	if n := len(p.eb.Peers()); n != 1 {
		t.Fatalf("%d peers", n)
	}
	return p
}

// What is odd but breaks no rule does not end a link: it is ignored.
func TestProtocolOddities(t *testing.T) {
	for name, f := range map[string]*wire.Frame{
		"reply to nothing":        {Kind: &wire.Frame_Reply{Reply: &wire.Reply{Id: 1 << 24, Body: []byte("x")}}},
		"reply of a huge id":      {Kind: &wire.Frame_Reply{Reply: &wire.Reply{Id: 1<<64 - 1, Failed: 1}}},
		"cancel of nothing":       {Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Route: 1, Id: 7}}},
		"cancel of no route":      {Kind: &wire.Frame_Cancel{Cancel: &wire.Cancel{Route: 1<<32 - 1, Id: 7}}},
		"leaving ok out of place": leavingOKFrame,
		"pong without ping":       {Kind: &wire.Frame_Pong{Pong: &wire.Ping{}}},
		"credit of nothing":       creditFrame(1, 0, 0),
		"routes done":             {Kind: &wire.Frame_RoutesDone{RoutesDone: &wire.RoutesDone{Route: 9}}},
		"empty change of routes":  routesFrame(2, true, nil),
		"empty pad":               {Kind: &wire.Frame_Pad{}},
		"large pad":               {Kind: &wire.Frame_Pad{Pad: bytes.Repeat([]byte{0xff}, 100<<10)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := atProtocol(t)
				p.say(f, pingFrame)
				if n := len(p.eb.Peers()); n != 1 {
					t.Errorf("the link has ended: %v", <-p.ended)
				}
				p.say(goodbyeFrame)
				p.CloseWrite()
				said, err := io.ReadAll(p)
				if err != nil || !strings.Contains(string(said), string(stream(t, &wire.Frame{Kind: &wire.Frame_Pong{Pong: &wire.Ping{}}}))) {
					t.Errorf("the peer reads %x, %v", said, err)
				}
				if err := <-p.ended; err != nil {
					t.Errorf("after GOODBYE: %v", err)
				}
			})
		})
	}
}
