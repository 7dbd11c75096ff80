package bridge_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/bus/bustest"
)

// everything allows all that a rule can allow.
var everything = []bridge.Rule{{Direction: bridge.In | bridge.Out, Pattern: regexp.MustCompile(".*")}}

// peer is a client that speaks frames.
type peer interface {
	write(frame string)
	read() string // "" at the end
	close()
}

// transports are the ways by which a client can come.
var transports = []string{"tcp", "websocket", "sockjs"}

// setup is a bridge to a bus, with ways in.
type setup struct {
	t      testing.TB
	eb     *bus.EventBus
	bridge *bridge.Bridge
	tcp    string
	web    string
}

func newSetup(t *testing.T, eb *bus.EventBus, c bridge.Config) *setup {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	b, err := bridge.New(eb, c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.ServeTCP(l) }()
	mux := http.NewServeMux()
	mux.Handle("/eventbus/", http.StripPrefix("/eventbus", b))
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		_ = b.Close()
		if err := <-served; err != bridge.ErrClosed {
			t.Errorf("ServeTCP: %v", err)
		}
		web.Close()
	})
	return &setup{t, eb, b, l.Addr().String(), web.URL + "/eventbus"}
}

// dial connects a client.
func (s *setup) dial(transport string) peer {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address(transport))
	if err != nil {
		s.t.Fatal(err)
	}
	p := s.over(conn, transport)
	s.t.Cleanup(p.close)
	return p
}

// address is where the clients of a transport connect.
func (s *setup) address(transport string) string {
	if transport == "tcp" {
		return s.tcp
	}
	u, err := url.Parse(s.web)
	if err != nil {
		s.t.Fatal(err)
	}
	return u.Host
}

// over makes a client of a connection.
func (s *setup) over(conn net.Conn, transport string) peer {
	s.t.Helper()
	if transport == "tcp" {
		return &tcpPeer{s.t, conn, bufio.NewReader(conn)}
	}
	path := "/websocket"
	if transport == "sockjs" {
		path = "/000/abcdefgh/websocket"
	}
	ways := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	ws, _, err := websocket.Dial(s.t.Context(), s.web+path, &websocket.DialOptions{HTTPClient: &http.Client{Transport: ways}})
	if err != nil {
		s.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	return &wsPeer{t: s.t, conn: ws, sockjs: transport == "sockjs"}
}

type tcpPeer struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (p *tcpPeer) write(frame string) {
	_, _ = p.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
}

func (p *tcpPeer) read() string {
	_ = p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	var n uint32
	if err := binary.Read(p.r, binary.BigEndian, &n); err != nil {
		return ""
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(p.r, b); err != nil {
		return ""
	}
	return string(b)
}

func (p *tcpPeer) close() { _ = p.conn.Close() }

type wsPeer struct {
	t       testing.TB
	conn    *websocket.Conn
	sockjs  bool
	opened  bool
	waiting []string
	end     string // of SockJS: the close frame
	err     error
}

func (p *wsPeer) write(frame string) {
	if p.sockjs {
		b, _ := json.Marshal([]string{frame})
		frame = string(b)
	}
	_ = p.conn.Write(context.Background(), websocket.MessageText, []byte(frame))
}

func (p *wsPeer) read() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		if len(p.waiting) > 0 {
			next := p.waiting[0]
			p.waiting = p.waiting[1:]
			return next
		}
		_, b, err := p.conn.Read(ctx)
		if err != nil {
			p.err = err
			return ""
		}
		if !p.sockjs {
			return string(b)
		}
		switch {
		case string(b) == "o" && !p.opened:
			p.opened = true
		case b[0] == 'a' && p.opened:
			if err := json.Unmarshal(b[1:], &p.waiting); err != nil {
				p.t.Errorf("%v in %s", err, b)
			}
		case b[0] == 'c':
			p.end = string(b)
		case string(b) != "h":
			p.t.Errorf("SockJS: %s", b)
		}
	}
}

func (p *wsPeer) close() { _ = p.conn.CloseNow() }

// overAll runs a test once for each transport.
func overAll(t *testing.T, c bridge.Config, test func(t *testing.T, s *setup, tr string)) {
	for _, tr := range transports {
		t.Run(tr, func(t *testing.T) {
			t.Parallel()
			test(t, newSetup(t, bustest.NewBus(t), c), tr)
		})
	}
}

// expect reads the next frame and compares it with what it should be, as JSON: want is
// for TCP, and web for the others, if that is different.
func expect(t *testing.T, p peer, want string) {
	t.Helper()
	got := p.read()
	if !same(got, want) {
		t.Errorf("read  %s\nwant  %s", got, want)
	}
}

func same(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return a == b
	}
	return reflect.DeepEqual(x, y)
}

// flavour makes of a frame of the TCP bridge that of the others.
func flavour(tr, frame string) string {
	if tr == "tcp" {
		return frame
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(frame), &m); err != nil {
		panic(frame)
	}
	delete(m, "send")
	if h, ok := m["headers"].(map[string]any); ok && len(h) == 0 {
		delete(m, "headers")
	}
	switch m["type"] {
	case "message":
		m["type"] = "rec"
		if _, ok := m["body"]; !ok {
			m["body"] = nil
		}
	case "err":
		if m["failureType"] != nil {
			delete(m, "sourceAddress")
			break
		}
		m["body"] = m["message"]
		delete(m, "message")
	}
	b, _ := json.Marshal(m)
	return string(b)
}

func consume(t *testing.T, eb *bus.EventBus, address string, h bus.Handler) *bus.Consumer {
	t.Helper()
	c, err := eb.Consume(address, h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// echo answers with the body and the headers of the request.
func echo(ctx context.Context, m *bus.Message) error {
	var opts []bus.CallOption
	for k, vs := range m.Header() {
		for _, v := range vs {
			opts = append(opts, bus.WithHeader(k, v))
		}
	}
	if len(m.Body) == 0 {
		return m.Reply(ctx, nil, opts...)
	}
	var raw json.RawMessage
	if err := m.Decode(&raw); err != nil {
		return err
	}
	return m.Reply(ctx, raw, opts...)
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// Bodies of every kind, headers, and the words of every failure come back to a client
// that asks.
func TestRequest(t *testing.T) {
	t.Parallel()
	overAll(t, bridge.Config{Rules: everything}, func(t *testing.T, s *setup, tr string) {
		consume(t, s.eb, "echo", bus.HandlerFunc(echo))
		p := s.dial(tr)
		for _, body := range []string{`"text"`, `{"a":[1,2,{"b":null}]}`, `[1,"x"]`, `1.50`, `true`, `false`, `"𝄞 \u2028 <&>"`, `12345678901234567890`} {
			p.write(`{"type":"send","address":"echo","replyAddress":"r1","headers":{"a":"b","m":["x","y"]},"body":` + body + `}`)
			expect(t, p, flavour(tr, `{"type":"message","address":"r1","headers":{"a":"b","m":["x","y"]},"body":`+body+`,"send":true}`))
		}
		p.write(`{"type":"send","address":"echo","replyAddress":"r1"}`)
		expect(t, p, flavour(tr, `{"type":"message","address":"r1","headers":{},"send":true}`))
		large := `"` + strings.Repeat("x", 500_000) + `"`
		p.write(`{"type":"send","address":"echo","replyAddress":"r1","body":` + large + `}`)
		expect(t, p, flavour(tr, `{"type":"message","address":"r1","headers":{},"send":true,"body":`+large+`}`))
	})
}
