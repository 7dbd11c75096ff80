package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// browser is a headless Chromium, which is spoken to by its debugging protocol.
type browser struct{ addr string }

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("two browsers talk where chromium is: ", err)
	}
	dir := t.TempDir()
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
		"--remote-debugging-port=0", "--user-data-dir="+dir, "about:blank")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_, _ = cmd.Process.Wait()
		for end := time.Now().Add(5 * time.Second); os.RemoveAll(dir) != nil && time.Now().Before(end); { // its children write there yet
			time.Sleep(10 * time.Millisecond)
		}
	})
	b := &browser{}
	within(t, "the browser is there", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		port, _, whole := strings.Cut(string(text), "\n")
		b.addr = "127.0.0.1:" + port
		return err == nil && whole
	})
	return b
}

// tab is a page of the browser.
type tab struct {
	t    *testing.T
	conn *websocket.Conn
	id   int
}

func (b *browser) open(t *testing.T, page string) *tab {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+b.addr+"/json/new?"+url.QueryEscape(page), nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	var target struct{ WebSocketDebuggerURL string }
	if err := json.Unmarshal(body, &target); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	conn, _, err := websocket.Dial(t.Context(), target.WebSocketDebuggerURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &tab{t: t, conn: conn}
}

// eval returns what an expression is on the page, as text.
func (p *tab) eval(expression string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	p.id++
	ask, _ := json.Marshal(map[string]any{"id": p.id, "method": "Runtime.evaluate", "params": map[string]any{"expression": "String(" + expression + ")"}})
	if err := p.conn.Write(ctx, websocket.MessageText, ask); err != nil {
		p.t.Fatal(err)
	}
	for {
		_, b, err := p.conn.Read(ctx)
		if err != nil {
			p.t.Fatal(err)
		}
		var answer struct {
			ID     int
			Result struct{ Result struct{ Value string } }
		}
		if json.Unmarshal(b, &answer) == nil && answer.ID == p.id && bytes.Contains(b, []byte(`"result"`)) {
			return answer.Result.Result.Value
		}
	}
}

func (p *tab) say(text string) {
	p.eval(fmt.Sprintf(`(document.getElementById('text').value = %q, document.getElementById('form').requestSubmit())`, text))
}

// shows waits until the page shows a text.
func (p *tab) shows(text string) {
	p.t.Helper()
	within(p.t, "the page shows "+text, func() bool { return strings.Contains(p.eval("document.body && document.body.innerText"), text) })
}

// Two browsers at two nodes talk by the official client, and when one node is killed its
// page goes on at the other.
func TestBrowsers(t *testing.T) {
	t.Parallel()
	chromium := newBrowser(t)
	a := start(t)
	b := start(t, a.addr)
	within(t, "both know each other", func() bool { return len(a.nodes(t)) == 2 && len(b.nodes(t)) == 2 })
	ada, bob := chromium.open(t, a.url), chromium.open(t, b.url)
	ada.shows("now at " + a.url)
	bob.shows("now at " + b.url)
	within(t, "they hear each other", func() bool {
		ada.say("ping")
		return strings.Contains(bob.eval("document.body.innerText"), ": ping")
	})
	bob.say("hello, ada")
	ada.shows(": hello, ada")
	within(t, "ada's page knows both nodes", func() bool { return ada.eval("nodes.length") == "2" })
	a.kill()
	ada.shows("now at " + b.url)
	bob.say("still there?")
	ada.shows(": still there?")
	ada.say("yes")
	bob.shows(": yes")
}
