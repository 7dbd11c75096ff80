package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
)

// step is a line of testdata/behaviours.txt: what a client writes, or what it reads.
type step struct {
	write, read string // one of them
	original    string // what the original answers in place of read; "": the same
}

// behaviour is a paragraph of it, for the dialect of a transport.
type behaviour struct {
	name   string
	steps  []step
	reason string // why the original differs
}

// behaviours returns those of a transport.
func behaviours(t *testing.T, transport string) (all []behaviour) {
	t.Helper()
	text, err := os.ReadFile("testdata/behaviours.txt")
	if err != nil {
		t.Fatal(err)
	}
	dialect := "web"
	if transport == "tcp" {
		dialect = "tcp"
	}
	here := true // the paragraph is for this dialect
	for _, line := range strings.Split(string(text), "\n") {
		what, rest, _ := strings.Cut(line, " ")
		as := transport // in whose words the line is
		if d := strings.TrimRight(what, "<!"); d != "" && d != what {
			what, as = strings.TrimPrefix(what, d), "tcp"
			if d != dialect {
				what = ""
			}
		}
		switch what {
		case "=":
			all = append(all, behaviour{name: rest})
			here = true
		case "@":
			if here = rest == dialect; !here {
				all = all[:len(all)-1]
			}
		}
		if !here || len(all) == 0 {
			continue
		}
		b := &all[len(all)-1]
		switch what {
		case "?":
			b.reason = rest
		case ">":
			b.steps = append(b.steps, step{write: rest})
		case "<":
			b.steps = append(b.steps, step{read: flavour(as, rest)})
		case "!":
			if rest != "nothing" && rest != "hangs" {
				rest = flavour(as, rest)
			}
			b.steps[len(b.steps)-1].original = rest
		}
	}
	return all
}

// behaviourRules are those that testdata/behaviours.txt speaks of.
func behaviourRules() []bridge.Rule {
	rules := []bridge.Rule{
		{Direction: bridge.In | bridge.Out, Pattern: regexp.MustCompile(`re\..+`)},
		{Direction: bridge.In | bridge.Out, Address: "matched", Match: map[string]any{"kind": "query", "n": map[string]any{"a": 1}}},
		{Direction: bridge.In, Address: "guarded", Authority: "boss"},
	}
	for _, a := range []string{"echo", "fail", "silent", "ask", "tell", "nobody", "x", "y"} {
		rules = append(rules, bridge.Rule{Direction: bridge.In | bridge.Out, Address: a})
	}
	return rules
}

// serveBehaviours are the consumers that it speaks of.
func serveBehaviours(t *testing.T, eb *bus.EventBus) {
	consume(t, eb, "echo", bus.HandlerFunc(echo))
	consume(t, eb, "fail", bus.HandlerFunc(func(context.Context, *bus.Message) error {
		return &bus.ReplyError{Code: 42, Message: "no"}
	}))
	consume(t, eb, "silent", bus.HandlerFunc(func(ctx context.Context, _ *bus.Message) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	consume(t, eb, "ask", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		a, err := m.Request(ctx, "how many?")
		if err != nil {
			return err
		}
		var n int
		if err := a.Decode(&n); err != nil {
			return err
		}
		return a.Reply(ctx, map[string]int{"answered": n})
	}))
	consume(t, eb, "tell", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error { return tell(ctx, eb, m) }))
}

func tell(ctx context.Context, eb *bus.EventBus, m *bus.Message) error {
	var do struct {
		Op, Address string
		Body        json.RawMessage
		Headers     map[string]string
	}
	if err := m.Decode(&do); err != nil {
		return err
	}
	var opts []bus.CallOption
	for k, v := range do.Headers {
		opts = append(opts, bus.WithHeader(k, v))
	}
	var body any
	if do.Body != nil {
		body = do.Body
	}
	switch do.Op {
	case "send":
		return eb.Send(ctx, do.Address, body, opts...)
	case "publish":
		return eb.Publish(ctx, do.Address, body, opts...)
	case "bytes":
		return eb.Send(ctx, do.Address, []byte{0xfb, 0xff, 0x00, 0xff}, opts...)
	}
	reply, err := eb.Request(ctx, do.Address, body, opts...)
	var no *bus.ReplyError
	if errors.As(err, &no) {
		return m.Reply(ctx, map[string]any{"failure": []any{"RECIPIENT_FAILURE", no.Code, no.Message}})
	}
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := reply.Decode(&raw); err != nil {
		return err
	}
	return m.Reply(ctx, map[string]any{"reply": raw})
}

// conversation runs steps, with the addresses for answers that came.
type conversation struct {
	p       peer
	answers []string
}

func (c *conversation) write(frame string) {
	if len(c.answers) > 0 {
		frame = strings.ReplaceAll(frame, "$1", c.answers[0])
	}
	c.p.write(frame)
}

// read returns the next frame without what is of this run alone.
func (c *conversation) read() string {
	frame := c.p.read()
	var m map[string]any
	if json.Unmarshal([]byte(frame), &m) != nil {
		return frame
	}
	if a, ok := m["replyAddress"].(string); ok {
		c.answers = append(c.answers, a)
		m["replyAddress"] = "$1"
	}
	delete(m, "detail")
	if m["failureType"] == nil {
		delete(m, "sourceAddress")
	}
	if text, ok := m["message"].(string); ok { // the original names its own reply address
		m["message"] = regexp.MustCompile(`address: __vertx\.reply\.[^,]*, repliedAddress`).ReplaceAllString(text, "address")
	}
	m = maps.Clone(m)
	b, _ := json.Marshal(m)
	return string(b)
}

// A client reads what it should, line by line.
func TestBehaviours(t *testing.T) {
	t.Parallel()
	overAll(t, bridge.Config{Rules: behaviourRules()}, func(t *testing.T, s *setup, tr string) {
		serveBehaviours(t, s.eb)
		for _, b := range behaviours(t, tr) {
			t.Run(b.name, func(t *testing.T) {
				c := conversation{p: s.dial(tr)}
				defer func() { // what it consumed would get messages of the next one
					c.p.close()
					within(t, "the client is gone", func() bool { return s.bridge.Stats().Clients == 0 })
				}()
				for _, step := range b.steps {
					if step.write != "" {
						c.write(step.write)
					} else if got := c.read(); !same(got, step.read) {
						t.Fatalf("read  %s\nwant  %s", got, step.read)
					}
				}
			})
		}
	})
}
