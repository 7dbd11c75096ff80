package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/runrig-go/runrig/bus"
)

// Why a connection has ended, to be told by [errors.Is] of [Event.Reason].
var (
	// ErrClosed says that the bridge is closed or closing.
	ErrClosed = errors.New("bridge: closed")

	// ErrIdle says that no frame came for so long ([Limits.PingTimeout]).
	ErrIdle = errors.New("bridge: nothing came from the client in time")

	// ErrSlow says that the client does not read what it is sent ([Limits.Write]).
	ErrSlow = errors.New("bridge: the client does not read")

	// ErrFrame says that what the client sent is no frame that can be answered and
	// passed over: it is too long, or has not come whole in time.
	ErrFrame = errors.New("bridge: not a frame")

	// ErrRefused says that Authorize has refused the connection.
	ErrRefused = errors.New("bridge: refused")
)

// Config is what a [Bridge] is made of. Its zero value allows nothing.
type Config struct {
	// Rules say what clients may do; without any they may do nothing.
	Rules []Rule

	// Authorize is asked whether a client may do what the rules allow: [Connect],
	// [Register], [Send], [Publish], and, for each message that comes for it,
	// [Receive]. The text of its error is told to the client. It may block: that holds
	// up the one client, or messages to it. The context ends with the client, that of
	// Receive also at the message's deadline. What is answered to a request is not asked for.
	// Nil allows what the rules do.
	Authorize func(ctx context.Context, c *Client, e *Event) error

	// Notify is told of [Registered], [Unregistered] and [Closed]. It should return
	// soon. Closed comes once for each client whose Connect was allowed, when no hook
	// runs for it any more and none will.
	Notify func(c *Client, e Event)

	// ToBus makes of a body, which is null if there is none, what the bus is given.
	// The default gives the JSON itself.
	ToBus func(address string, body json.RawMessage) (any, error)

	// ToClient makes JSON of the body of a message to an address, or of a reply to a
	// request there. The default gives JSON as it is, bytes as a string in base64 (the
	// URL alphabet without padding, as the original does), and an error for protobuf
	// and what codecs of the program's made.
	ToClient func(address string, m *bus.Message) (json.RawMessage, error)

	// Origins are the hosts of pages that may open a WebSocket, beside the bridge's
	// own: patterns of [path.Match], or "*" for all.
	Origins []string

	Limits Limits

	// Logger is where the bridge logs; nil is slog.Default().
	Logger *slog.Logger
}

// Bridge lets clients that are no nodes talk over a bus. Make one with [New]. Its
// methods may be called concurrently.
type Bridge struct {
	eb     *bus.EventBus
	config Config
	limits Limits
	rules  []rule
	log    *slog.Logger
	stats  counters

	channels channels
	ctx      context.Context // ends when the bridge closes
	cancel   context.CancelFunc

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	running   sync.WaitGroup // of sessions, listeners and handshakes
}

// New returns a bridge to a bus. It is an error if a rule cannot be.
func New(eb *bus.EventBus, c Config) (*Bridge, error) {
	rules, err := checked(c.Rules)
	if err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.ToBus == nil {
		c.ToBus = toBus
	}
	if c.ToClient == nil {
		c.ToClient = toClient
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Bridge{
		eb: eb, config: c, limits: c.Limits.withDefaults(), rules: rules, log: c.Logger, ctx: ctx, cancel: cancel,
		channels: channels{by: map[string]*channel{}}, listeners: map[net.Listener]struct{}{}, sessions: map[*session]struct{}{},
	}, nil
}

// Close ends the bridge: its listeners, then all connections. What waits here for
// clients goes to other consumers on the bus. It returns when no hook runs any more,
// and closing again waits for that too. Close the bridge before its bus.
func (b *Bridge) Close() error {
	b.mu.Lock()
	b.closed = true
	var all []*session
	for s := range b.sessions {
		all = append(all, s)
	}
	b.cancel()
	for l := range b.listeners {
		_ = l.Close()
	}
	b.mu.Unlock()
	for _, s := range all {
		s.cut(ErrClosed, nil)
	}
	b.running.Wait()
	return nil
}

// add makes a session part of the bridge, unless that is closing, or full.
func (b *Bridge) add(s *session) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.isFullLocked() {
		return false
	}
	b.sessions[s] = struct{}{}
	b.running.Add(1)
	b.stats.connected.Add(1)
	b.stats.clients.Add(1)
	return true
}

// isFullLocked reports, and counts, that there is no room for another client.
func (b *Bridge) isFullLocked() bool {
	if len(b.sessions) < b.limits.Clients {
		return false
	}
	b.stats.full.Add(1)
	return true
}

// mayConnect reports whether a connection is worth the effort of a handshake.
func (b *Bridge) mayConnect() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.closed && !b.isFullLocked()
}

func (b *Bridge) remove(s *session) {
	b.mu.Lock()
	delete(b.sessions, s)
	b.mu.Unlock()
	b.stats.clients.Add(-1)
	b.running.Done()
}

func toBus(_ string, body json.RawMessage) (any, error) {
	if string(body) == "null" {
		return nil, nil
	}
	return body, nil
}

func toClient(_ string, m *bus.Message) (json.RawMessage, error) {
	if len(m.Body) == 0 {
		return nil, nil
	}
	var raw json.RawMessage
	if m.Decode(&raw) == nil {
		return raw, nil
	}
	var b []byte
	if err := m.Decode(&b); err != nil {
		return nil, fmt.Errorf("a client has no use for its encoding (Config.ToClient): %w", err)
	}
	return base64JSON(b), nil
}
