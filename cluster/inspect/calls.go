package inspect

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/runrig-go/runrig/bus"
)

// Call is a message that a node is asked to send.
type Call struct {
	Verb    string              `json:"verb"` // send, publish or request
	Address string              `json:"address"`
	Headers map[string][]string `json:"headers,omitempty"`

	// The body: JSON as it is, or bytes. Neither is a body of nothing.
	JSON  json.RawMessage `json:"json,omitempty"`
	Bytes []byte          `json:"bytes,omitempty"` // base64 in JSON

	Timeout float64 `json:"timeout_seconds,omitempty"` // 0: 30 s
	Gossip  bool    `json:"gossip,omitempty"`          // of publish
	Key     *string `json:"key,omitempty"`             // see bus.ByKey
}

// Answer is what became of a Call. Class is a word for the error: see bus.Class.
type Answer struct {
	Node  string  `json:"node"` // ID of the node that sent
	Took  float64 `json:"took_seconds"`
	Reply *Said   `json:"reply,omitempty"` // of a request
	Class string  `json:"class,omitempty"`
	Code  *int    `json:"code,omitempty"` // of a *bus.ReplyError
	Error string  `json:"error,omitempty"`
}

// Said is a message that was received.
type Said struct {
	Time    time.Time           `json:"time"`
	Address string              `json:"address,omitempty"`
	From    string              `json:"from"` // name of the node that sent it
	Via     string              `json:"via"`  // local, link or gossip
	Headers map[string][]string `json:"headers,omitempty"`
	Size    int                 `json:"size_bytes"`
	Codec   string              `json:"codec,omitempty"` // of the body: see bus.Message.Codec
	Text    *string             `json:"text,omitempty"`  // the body, where it is text
	Base64  string              `json:"base64,omitempty"`
	Cut     bool                `json:"cut,omitempty"` // only the first 64 KiB are here
	Request bool                `json:"request,omitempty"`
}

// maxSaid is how much of a body is told.
const maxSaid = 64 << 10

// SaidBy returns a message as it is told.
func SaidBy(m *bus.Message) Said {
	s := Said{
		Time: time.Now(), Address: m.Address(), From: m.From(), Via: m.Via().String(),
		Headers: m.Header(), Size: len(m.Body), Codec: m.Codec(), Request: m.WantsReply(),
	}
	body := m.Body
	if s.Cut = len(body) > maxSaid; s.Cut {
		end := maxSaid
		for end > maxSaid-utf8.UTFMax && !utf8.RuneStart(body[end]) { // between characters, if it is text
			end--
		}
		body = body[:end]
	}
	if utf8.Valid(body) {
		text := string(body)
		s.Text = &text
	} else {
		s.Base64 = base64.StdEncoding.EncodeToString(body)
	}
	return s
}

// Call sends a message from the node, and for a request waits for the reply. The error
// says that the Call is none; what became of a proper one is in the Answer.
func (i *Inspector) Call(ctx context.Context, c Call) (Answer, error) {
	body, opts, err := c.settle()
	if err != nil {
		return Answer{}, err
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.Timeout*float64(time.Second)))
		defer cancel()
	}
	a := Answer{Node: i.node.Self().String()}
	began := time.Now()
	var reply *bus.Message
	switch c.Verb {
	case "send":
		err = i.eb.Send(ctx, c.Address, body, opts...)
	case "publish":
		err = i.eb.Publish(ctx, c.Address, body, opts...)
	case "request":
		reply, err = i.eb.Request(ctx, c.Address, body, opts...)
	}
	a.Took = time.Since(began).Seconds()
	if reply != nil {
		said := SaidBy(reply)
		a.Reply = &said
	}
	var refused *bus.ReplyError
	if errors.As(err, &refused) {
		a.Code = &refused.Code
	}
	a.Class, a.Error = bus.Class(err), text(err)
	return a, nil
}

// settle returns the body and the options of a call.
func (c *Call) settle() (body any, opts []bus.CallOption, err error) {
	switch {
	case !slices.Contains([]string{"send", "publish", "request"}, c.Verb):
		return nil, nil, fmt.Errorf("inspect: verb %q is none of send, publish and request", c.Verb)
	case c.JSON != nil && c.Bytes != nil:
		return nil, nil, errors.New("inspect: a call with both json and bytes; give one of them")
	case c.Timeout < 0 || c.Timeout > 24*3600:
		return nil, nil, fmt.Errorf("inspect: timeout_seconds is %v; it must be from 0 to a day", c.Timeout)
	case c.JSON != nil:
		body = c.JSON
	case c.Bytes != nil:
		body = c.Bytes
	}
	for k, vs := range c.Headers {
		for _, v := range vs {
			opts = append(opts, bus.WithHeader(k, v))
		}
	}
	if c.Gossip {
		opts = append(opts, bus.Gossip())
	}
	if c.Key != nil {
		opts = append(opts, bus.ByKey(*c.Key))
	}
	return body, opts, nil
}

// Listen is a consumer that a node is asked to have for a while.
type Listen struct {
	Address string `json:"address"`
	Turns   bool   `json:"turns,omitempty"` // hear sends and requests, too, in turn with the other consumers
	Echo    bool   `json:"echo,omitempty"`  // answer requests with their own body; else with nothing
}

// Listen consumes an address until ctx ends, and calls f with each message, one at a
// time. Without Turns it hears what is published, and takes nothing from others. With
// Turns the consumer takes its turn like any other of the address: what it hears, others
// do not. known is called when the linked nodes know the consumer. It ends early, and
// returns nil, when f returns false.
func (i *Inspector) Listen(ctx context.Context, l Listen, known func(), f func(Said) bool) error {
	var opts []bus.ConsumeOption
	if !l.Turns {
		opts = append(opts, bus.PublishedOnly())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := i.eb.Consume(l.Address, bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		if !f(SaidBy(m)) {
			cancel()
		}
		if l.Echo && m.WantsReply() {
			return echo(ctx, m)
		}
		return nil
	}), opts...)
	if err != nil {
		return err
	}
	defer func() {
		_ = c.Close()
		<-c.Done()
	}()
	if err := c.Known(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	known()
	select {
	case <-ctx.Done():
	case <-c.Done():
		return bus.ErrClosed
	}
	return nil
}

// echo answers with the body that came, as JSON where it is JSON.
func echo(ctx context.Context, m *bus.Message) error {
	if json.Valid(m.Body) {
		return m.Reply(ctx, json.RawMessage(m.Body))
	}
	return m.Reply(ctx, []byte(m.Body))
}
