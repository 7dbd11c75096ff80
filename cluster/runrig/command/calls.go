package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// send has the node send messages, one after the other.
func send(verb string) func(ctx context.Context, c *call) error {
	return func(ctx context.Context, c *call) error {
		message, err := c.message(verb)
		if err != nil {
			return err
		}
		client, err := c.attach(ctx)
		if err != nil {
			return err
		}
		defer client.Close()
		c.watch.on = c.count > 1 // a document a line
		for range c.count {
			a, err := c.call(ctx, client, message)
			if err != nil {
				return err
			}
			if err := c.tellAnswer(a); err != nil {
				return err
			}
		}
		return nil
	}
}

// call sends one message. The wait for its answer is bounded somewhat later than the
// message is.
func (c *call) call(ctx context.Context, client *inspect.Client, message inspect.Call) (inspect.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout+5*time.Second)
	defer cancel()
	return client.Call(ctx, message)
}

// message is what the arguments and flags say. Without a body there, it is what comes on
// standard input, if that is not a terminal.
func (c *call) message(verb string) (inspect.Call, error) {
	m := inspect.Call{Verb: verb, Address: c.args[0], Headers: c.headers, Timeout: c.timeout.Seconds(), Gossip: c.gossip}
	if c.key != "" {
		m.Key = &c.key
	}
	body, given := "", len(c.args) > 1
	if given {
		body = c.args[1]
	}
	if given && body == "-" {
		b, err := io.ReadAll(io.LimitReader(c.in, 16<<20))
		if err != nil {
			return m, fmt.Errorf("standard input: %w", err)
		}
		body = string(b)
	}
	switch {
	case !given:
	case c.bytes:
		m.Bytes = []byte(body)
	case json.Valid([]byte(body)):
		m.JSON = json.RawMessage(body)
	default:
		m.JSON, _ = json.Marshal(body) // a string
	}
	return m, nil
}

// tellAnswer shows what became of a message. The error is that of the message.
func (c *call) tellAnswer(a inspect.Answer) error {
	if c.json {
		if err := c.document(a); err != nil || a.Error == "" {
			return err
		}
		return exitCode(exitFailed)
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	if a.Reply == nil {
		return nil
	}
	fmt.Fprintln(c.out, said(a.Reply))
	fmt.Fprintf(c.err, "%s\n", c.style.paint(faint, show(fmt.Sprintf("from %s, via %s, in %s", orElse(a.Reply.From, "this node"), a.Reply.Via, seconds(a.Took)))))
	return nil
}

// said shows a body: text, or base64 of what is none.
func said(s *inspect.Said) string {
	text := ""
	switch {
	case s.Text != nil:
		var lines []string
		for line := range strings.SplitSeq(*s.Text, "\n") {
			lines = append(lines, show(line))
		}
		text = strings.Join(lines, "\n")
	default:
		text = s.Base64
	}
	if s.Cut {
		text += fmt.Sprintf(" … (%d bytes)", s.Size)
	}
	return text
}

// sub shows what is published at an address.
func sub(ctx context.Context, c *call) error {
	if c.turns {
		fmt.Fprintf(c.err, "runrig sub: takes turns at %s: what is shown here, its other consumers do not get\n", show(c.args[0]))
	}
	return c.listen(ctx, inspect.Listen{Address: c.args[0], Turns: c.turns})
}

// reply answers requests.
func reply(ctx context.Context, c *call) error {
	return c.listen(ctx, inspect.Listen{Address: c.args[0], Turns: true, Echo: c.echo})
}

func (c *call) listen(ctx context.Context, l inspect.Listen) error {
	client, err := c.attach(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	n := 0
	known := func() { fmt.Fprintf(c.err, "listening at %s, by way of %s\n", show(l.Address), client.Addr()) }
	return client.Listen(ctx, l, known, func(s inspect.Said) bool {
		n++
		if c.json {
			err = c.document(s)
		} else {
			err = c.heard(s)
		}
		return err == nil && (c.count == 0 || n < c.count)
	})
}

func (c *call) heard(s inspect.Said) error {
	head := fmt.Sprintf("%s  from %s", s.Time.Local().Format("15:04:05.000"), orElse(s.From, "this node"))
	if s.Request {
		head += ", asks"
	}
	for k, vs := range s.Headers {
		head += fmt.Sprintf("  %s: %s", k, strings.Join(vs, ", "))
	}
	_, err := fmt.Fprintf(c.out, "%s\n%s\n", c.style.paint(faint, show(head)), said(&s))
	return err
}
