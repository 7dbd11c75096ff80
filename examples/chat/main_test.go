package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestMain is a node where it has been started as one.
func TestMain(m *testing.M) {
	if peers := os.Getenv("CHAT_TEST_NODE"); peers != "" {
		if err := run(context.Background(), "127.0.0.1:0", strings.Fields(peers)); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// process is a node of its own.
type process struct {
	cmd       *exec.Cmd
	url, addr string
}

// start starts a node, which is killed at the end of the test.
func start(t *testing.T, peers ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), "CHAT_TEST_NODE= "+strings.Join(peers, " "))
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	m := regexp.MustCompile(`^open (\S+), .* (\S+)\n$`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("the node printed %q, %v", line, err)
	}
	p.url, p.addr = m[1], m[2]
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_, _ = p.cmd.Process.Wait()
}

// nodes returns what a node tells of the nodes.
func (p *process) nodes(t *testing.T) (urls []string) {
	t.Helper()
	r, err := http.Get(p.url + "/nodes")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	if err := json.NewDecoder(r.Body).Decode(&urls); err != nil {
		t.Fatal(err)
	}
	return urls
}

// guest is a client in the room.
type guest struct {
	t    *testing.T
	conn *websocket.Conn
}

func (p *process) enter(t *testing.T) *guest {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), p.url+"/eventbus/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	g := &guest{t, conn}
	g.write(`{"type":"register","address":"chat.room"}`)
	return g
}

func (g *guest) write(frame string) {
	g.t.Helper()
	if err := g.conn.Write(g.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) say(text string) {
	g.t.Helper()
	g.write(fmt.Sprintf(`{"type":"publish","address":"chat.room","body":{"text":%q,"from":"somebody else"}}`, text))
}

// hear waits for a line, and for nothing else but what was said to find out whether the
// others hear.
func (g *guest) hear(text string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, b, err := g.conn.Read(ctx)
		switch {
		case err != nil:
			g.t.Fatalf("%q was not heard: %v", text, err)
		case strings.Contains(string(b), `"text":"`+text+`"`):
			if !strings.Contains(string(b), `"from":"guest `) {
				g.t.Errorf("who has said it? %s", b)
			}
			return
		case !strings.Contains(string(b), `"text":"?"`):
			g.t.Fatalf("%s was heard", b)
		}
	}
}

// meet has one guest say ? until the other one hears it, as registrations take a moment.
func meet(t *testing.T, from, to *guest) {
	t.Helper()
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		to.hear("?")
	}()
	for {
		from.say("?")
		select {
		case <-heard:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// Guests at two nodes talk, and when one node is killed its guest goes on at the other.
func TestChat(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := start(t, a.addr)
	within(t, "both know each other", func() bool { return len(a.nodes(t)) == 2 && len(b.nodes(t)) == 2 })
	ada, bob := a.enter(t), b.enter(t)
	meet(t, ada, bob)
	ada.say("hello")
	bob.hear("hello")
	a.kill()
	if _, _, err := ada.conn.Read(t.Context()); err == nil {
		for err == nil { // what has come before
			_, _, err = ada.conn.Read(t.Context())
		}
	}
	ada = b.enter(t)
	meet(t, ada, bob)
	bob.say("still there")
	ada.hear("still there")
	ada.write(`{"type":"publish","address":"elsewhere","body":{"text":"x"}}`)
	if _, got, err := ada.conn.Read(t.Context()); err != nil || !strings.Contains(string(got), "access_denied") {
		t.Errorf("%s, %v", got, err)
	}
}
