package bus

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// SKELETON: this file stands in until the real bus is merged from main.

type core struct {
	leaving chan struct{}
	once    sync.Once
	mu      sync.Mutex
	peers   map[uint64]Peer
}

// EventBus is the event bus.
type EventBus struct{ core *core }

// New returns a bus.
func New(opts ...Option) *EventBus {
	return &EventBus{&core{leaving: make(chan struct{}), peers: map[uint64]Peer{}}}
}

func (c *core) attach(self Peer, g Gossiper) (*Links, error) { return &Links{c}, nil }
func (c *core) serve(ctx context.Context, peer Peer, conn net.Conn, up func()) error {
	defer conn.Close()
	c.mu.Lock()
	peer.Since = time.Now()
	c.peers[peer.Boot] = peer
	c.mu.Unlock()
	defer func() { c.mu.Lock(); delete(c.peers, peer.Boot); c.mu.Unlock() }()
	if up != nil {
		up()
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	go func() { <-c.leaving; conn.Close() }()
	_, err := io.Copy(io.Discard, conn)
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}
func (c *core) expect(peer Peer) func() { return func() {} }
func (c *core) probe(boot uint64)        {}
func (c *core) receiveGossip(p []byte)   {}
func (c *core) open() bool {
	select {
	case <-c.leaving:
		return false
	default:
		return true
	}
}

// Send sends a message to one consumer.
func (eb *EventBus) Send(ctx context.Context, address string, body any, opts ...CallOption) error {
	return ErrNoConsumer
}

// Publish sends a message to all consumers.
func (eb *EventBus) Publish(ctx context.Context, address string, body any, opts ...CallOption) error {
	return nil
}

// Request sends a message to one consumer and waits for its reply.
func (eb *EventBus) Request(ctx context.Context, address string, body any, opts ...CallOption) (*Message, error) {
	return nil, ErrNoConsumer
}

// Consume registers a handler at an address.
func (eb *EventBus) Consume(address string, h Handler, opts ...ConsumeOption) (*Consumer, error) {
	return &Consumer{address, make(chan struct{}), sync.Once{}}, nil
}

// Scope returns the same bus with a turn of its own: the handlers of the
// consumers that are registered through it run one at a time.
func (eb *EventBus) Scope() *EventBus { return eb }

// Do waits for the turn of the scope, until ctx ends, and holds it while f
// runs. Consumers that f registers through this scope are announced when f has
// returned nil; if it returns an error or panics they are closed, and no
// message ever came to them. On a bus that is no scope Do just runs f, so
// consumers are announced at its end too. f's context knows whose turn it holds.
// f must not call Do on the same scope.
func (eb *EventBus) Do(ctx context.Context, f func(ctx context.Context) error) error { return f(ctx) }

// Peers returns the linked nodes.
func (eb *EventBus) Peers() []Peer {
	eb.core.mu.Lock()
	defer eb.core.mu.Unlock()
	var ps []Peer
	for _, p := range eb.core.peers {
		ps = append(ps, p)
	}
	return ps
}

// Done is closed when the bus is closed.
func (eb *EventBus) Done() <-chan struct{} { return eb.core.leaving }

// Close closes all consumers and leaves.
func (eb *EventBus) Close() error {
	eb.core.once.Do(func() { close(eb.core.leaving) })
	return nil
}

// Consumer is a handler at an address.
type Consumer struct {
	address string
	done    chan struct{}
	once    sync.Once
}

// Address returns the address.
func (c *Consumer) Address() string { return c.address }

// Known waits until all peers that are linked now know the consumer.
func (c *Consumer) Known(ctx context.Context) error { return nil }

// Close ends the consumer: no further message is handled. It returns at once;
// a handler that runs goes on, and what waits goes back to its senders.
func (c *Consumer) Close() error { c.once.Do(func() { close(c.done) }); return nil }

// Done is closed when the consumer is closed and its handlers have returned.
func (c *Consumer) Done() <-chan struct{} { return c.done }

// Message is a message.
type Message struct {
	Body   []byte
	header Header
	codec  uint8
}

// Address returns the address the message was sent to.
func (m *Message) Address() string { return "" }

// Header returns the headers.
func (m *Message) Header() Header { return m.header }

// From returns the name of the sender's node.
func (m *Message) From() string { return "" }

// WantsReply reports whether the message is a request not answered yet.
func (m *Message) WantsReply() bool { return true }

// Decode decodes the body.
func (m *Message) Decode(v any) error { return decodeBody(m.Body, m.codec, v) }

// Reply answers a request.
func (m *Message) Reply(ctx context.Context, body any, opts ...CallOption) error { return nil }

// Rerouted reports whether the message was sent back once.
func (m *Message) Rerouted() bool { return false }

// Via says which way the message came; String gives local, link or gossip.
func (m *Message) Via() Via { return 0 }

// Via is a way.
type Via uint8

// String returns local, link or gossip.
func (v Via) String() string { return "local" }

// DeadLetter is a message that could not be placed.
type DeadLetter struct {
	Address string
	Header  Header
	Body    []byte
	Reason  error
}

// Stats are counters.
type Stats struct {
	Sent, Settled, Bounced, Unknown, Handled, Failed, DeadLetters uint64
}

// Stats returns the counters.
func (eb *EventBus) Stats() Stats { return Stats{} }
