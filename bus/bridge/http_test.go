package bridge_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/bus/bustest"
)

func (s *setup) http(method, path, origin string) (status int, header http.Header, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, s.web+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b)
}

// SockJS clients find what there is, and the transports that are not there say so.
func TestSockJSInfo(t *testing.T) {
	t.Parallel()
	s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: everything, Origins: []string{"*.example.org"}})
	status, header, body := s.http("GET", "/info", "https://app.example.org")
	var info struct {
		WebSocket bool `json:"websocket"`
		Origins   []string
		Entropy   int64
	}
	if err := json.Unmarshal([]byte(body), &info); err != nil || status != 200 || !info.WebSocket {
		t.Errorf("%d, %s, %v", status, body, err)
	}
	if header.Get("Access-Control-Allow-Origin") != "https://app.example.org" || !strings.Contains(header.Get("Cache-Control"), "no-store") {
		t.Errorf("%v", header)
	}
	if _, header, _ := s.http("GET", "/info", "https://example.com"); header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a page of elsewhere may read it: %v", header)
	}
	for path, want := range map[string]int{
		"/": 200, "/nothing": 404, "/a/b": 404, "/a/b/c/d": 404, "/000/abc/xhr": 501, "/000/abc/xhr_streaming": 501, "/000/abc/eventsource": 501,
		"/websocket": http.StatusUpgradeRequired, "/000/abc/websocket": http.StatusUpgradeRequired,
	} {
		if status, _, body := s.http("GET", path, ""); status != want || status == 501 && !strings.Contains(body, "WebSocket") {
			t.Errorf("GET %s: %d, %s", path, status, body)
		}
	}
	if status, _, _ := s.http("OPTIONS", "/info", "https://app.example.org"); status != 204 {
		t.Errorf("OPTIONS: %d", status)
	}
	if status, _, _ := s.http("POST", "/info", ""); status != 405 {
		t.Errorf("POST: %d", status)
	}
	if err := s.bridge.Close(); err != nil {
		t.Error(err)
	}
	if status, _, _ := s.http("GET", "/websocket", ""); status != 503 {
		t.Errorf("of a bridge that is closed: %d", status)
	}
}

// Pages of other origins may connect only where they are allowed to.
func TestOrigins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allowed []string
		origin  string
		ok      bool
	}{
		{nil, "", true}, {nil, "http://evil.example", false}, {[]string{"good.example"}, "https://good.example", true}, {[]string{"good.example"}, "https://evil.example", false},
		{[]string{"https://good.example"}, "http://good.example", false}, {[]string{"*"}, "https://any.example:8443", true},
	} {
		s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: everything, Origins: c.allowed})
		header := http.Header{}
		if c.origin != "" {
			header.Set("Origin", c.origin)
		}
		conn, _, err := websocket.Dial(t.Context(), s.web+"/websocket", &websocket.DialOptions{HTTPHeader: header})
		if (err == nil) != c.ok {
			t.Errorf("%v, from %q: %v", c.allowed, c.origin, err)
		}
		if err == nil {
			_ = conn.CloseNow()
		}
	}
}

// The hook has the request of a WebSocket, with its headers and cookies.
func TestRequestInTheHook(t *testing.T) {
	t.Parallel()
	s := newSetup(t, bustest.NewBus(t), bridge.Config{
		Rules: everything,
		Authorize: func(_ context.Context, c *bridge.Client, e *bridge.Event) error {
			cookie, err := c.Request.Cookie("session")
			if err != nil {
				return errors.New("log in first")
			}
			c.Set(user{}, cookie.Value)
			return nil
		},
	})
	for _, path := range []string{"/websocket", "/000/abc/websocket"} {
		conn, _, err := websocket.Dial(t.Context(), s.web+path, &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {"session=ada"}}})
		if err != nil {
			t.Fatal(err)
		}
		p := &wsPeer{t: t, conn: conn, sockjs: strings.Contains(path, "abc")}
		defer p.close()
		p.write(`{"type":"send","address":"nobody","replyAddress":"r"}`)
		if got := p.read(); !strings.Contains(got, "NO_HANDLERS") {
			t.Error(got)
		}
	}
	p := s.dial("websocket").(*wsPeer)
	if got := p.read(); !strings.Contains(got, "log in first") {
		t.Error(got)
	}
}

// A WebSocket is answered in text or binary, as it speaks.
func TestBinary(t *testing.T) {
	t.Parallel()
	s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: everything})
	p := s.dial("websocket").(*wsPeer)
	for _, kind := range []websocket.MessageType{websocket.MessageBinary, websocket.MessageText} {
		if err := p.conn.Write(t.Context(), kind, []byte(`{"type":"send","address":"nobody","replyAddress":"r"}`)); err != nil {
			t.Fatal(err)
		}
		if got, _, err := p.conn.Read(t.Context()); err != nil || got != kind {
			t.Errorf("%v was answered by %v, %v", kind, got, err)
		}
	}
}

// A SockJS client may send several frames in one message, one as a string, or nothing.
func TestSockJSFraming(t *testing.T) {
	t.Parallel()
	s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: everything})
	p := s.dial("sockjs").(*wsPeer)
	ask := func(r string) string { return fmt.Sprintf(`{"type":"send","address":"nobody","replyAddress":%q}`, r) }
	two, _ := json.Marshal([]string{ask("1"), ask("2")})
	one, _ := json.Marshal(ask("3"))
	for _, message := range []string{"", "[]", string(two), string(one), `[1]`, `{`} {
		if err := p.conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for range 5 {
		got = append(got, p.read())
	}
	all := strings.Join(got, "\n")
	for _, r := range []string{`"address":"1"`, `"address":"2"`, `"address":"3"`} {
		if !strings.Contains(all, r) {
			t.Errorf("no answer to %s in %s", r, all)
		}
	}
	if strings.Count(all, "invalid_json") != 2 {
		t.Errorf("%s", all)
	}
}

// The frames of a SockJS message are taken out of it one by one, whatever is between them.
func TestSockJSArrays(t *testing.T) {
	t.Parallel()
	s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: everything})
	ask := func(r string) string {
		b, _ := json.Marshal(fmt.Sprintf(`{"type":"send","address":"nobody","replyAddress":%q}`, r))
		return string(b)
	}
	deep := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
	for _, c := range []struct{ message, want string }{
		{" [ " + ask("1") + " , " + ask("2") + " ] ", "1 2"},
		{"[" + ask("1") + `,1,{"a":[]},null,["x"],` + ask("2") + "]", "1 - - - - 2"},
		{"[" + ask("1") + "," + deep + "," + ask("2") + "]", "1 -"}, // what follows is lost with it
		{`["",` + ask("1") + `,"\"]"]`, "- 1 -"},
		{`[]`, ""}, {` [ ] `, ""}, {`true`, "-"}, {`["a"`, "-"},
		{"[" + strings.Repeat(`"",`, 1000) + ask("1") + "]", strings.Repeat("- ", 1000) + "1"},
	} {
		p := s.dial("sockjs").(*wsPeer)
		for _, message := range []string{c.message, "[" + ask("end") + "]"} {
			if err := p.conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for {
			var m struct{ Address string }
			if err := json.Unmarshal([]byte(p.read()), &m); err != nil {
				t.Fatal(err)
			}
			if m.Address == "end" {
				break
			}
			got = append(got, cmp.Or(m.Address, "-"))
		}
		if all := strings.Join(got, " "); all != c.want {
			t.Errorf("%.80s: answers %.80s, want %.80s", c.message, all, c.want)
		}
		p.close()
	}
}

// Clients at different nodes are consumers as any others: they are published to, take
// turns and answer over the link.
func TestClientsAtTwoNodes(t *testing.T) {
	t.Parallel()
	c := bustest.NewCluster(t, 2)
	registered := make(chan string, 2)
	config := bridge.Config{Rules: everything, Notify: func(_ *bridge.Client, e bridge.Event) {
		if e.Kind == bridge.Registered {
			registered <- e.Address
		}
	}}
	a, b := newSetup(t, c.Bus(0), config), newSetup(t, c.Bus(1), config)
	ada, bob := conversation{p: a.dial("sockjs")}, conversation{p: b.dial("tcp")}
	for _, p := range []conversation{ada, bob} {
		p.write(`{"type":"register","address":"x"}`)
		<-registered // on all nodes
	}
	ada.write(`{"type":"publish","address":"x","body":"to all"}`)
	for _, p := range []conversation{ada, bob} {
		if got := p.read(); !strings.Contains(got, "to all") {
			t.Error(got)
		}
	}
	bob.write(`{"type":"register","address":"bob"}`)
	<-registered
	ada.write(`{"type":"send","address":"bob","replyAddress":"r","body":"q"}`)
	if got := bob.read(); !strings.Contains(got, `"q"`) {
		t.Fatal(got)
	}
	bob.write(`{"type":"send","address":"$1","body":"a"}`)
	if got := ada.read(); !strings.Contains(got, `"a"`) {
		t.Error(got)
	}
	counts := map[string]int{}
	for i := range 20 { // in turn, over both nodes
		if err := c.Bus(i%2).Send(t.Context(), "x", i); err != nil {
			t.Fatal(err)
		}
	}
	for name, p := range map[string]conversation{"ada": ada, "bob": bob} {
		for range 10 {
			if p.read() != "" {
				counts[name]++
			}
		}
	}
	if counts["ada"] != 10 || counts["bob"] != 10 {
		t.Errorf("%v", counts)
	}
	bob.p.close()
	within(t, "bob is gone on both nodes", func() bool {
		_, err := c.Bus(0).Request(t.Context(), "bob", nil)
		return errors.Is(err, bus.ErrNoConsumer)
	})
}
