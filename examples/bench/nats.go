package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	hubPayload = 8 << 20   // as much as the server's documentation advises
	hubPending = 512 << 20 // by default it drops a client that is 64 MiB behind, which is what a receiver at full speed is
)

// hub is a NATS server, in a process of its own.
type hub struct {
	transport // the server itself uses nothing
	srv       *server.Server
}

func newHub(s Setup) (transport, error) {
	o := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT,
		NoLog: true, NoSigs: true,
		MaxPayload: hubPayload, MaxPending: hubPending,
	}
	if s.Keys != nil {
		c, err := s.Keys.server()
		if err != nil {
			return nil, err
		}
		o.TLS, o.TLSConfig = true, c
	}
	srv, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	go srv.Start() // ends with the process
	if !srv.ReadyForConnections(callTimeout) {
		return nil, errors.New("nats: the server does not start")
	}
	return &hub{srv: srv}, nil
}

func (h *hub) Addr() string { return h.srv.ClientURL() }

// natsClient is a client of a NATS server.
type natsClient struct {
	conn *nats.Conn
	mu   sync.Mutex
	err  error // that the connection reported by itself
}

func newNATS(s Setup) (transport, error) {
	n := &natsClient{}
	opts := []nats.Option{
		nats.Name(s.Role),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { n.fail(err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { n.fail(err) }),
	}
	if s.Keys != nil {
		c, err := s.Keys.client()
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.Secure(c))
	}
	var err error
	n.conn, err = nats.Connect(s.Addrs[0], opts...)
	return n, err
}

func (n *natsClient) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil {
		n.err = err
	}
}

func (n *natsClient) Addr() string { return "" }

func (n *natsClient) Consume(address string, f func(body []byte)) error {
	return n.subscribe(address, func(m *nats.Msg) { f(m.Data) })
}

func (n *natsClient) Answer(address string, f func(body []byte) []byte) error {
	return n.subscribe(address, func(m *nats.Msg) {
		if err := m.Respond(f(m.Data)); err != nil {
			n.fail(err)
		}
	})
}

// subscribe lifts the limits beyond which the client drops messages.
func (n *natsClient) subscribe(address string, h nats.MsgHandler) error {
	s, err := n.conn.Subscribe(address, h)
	if err != nil {
		return err
	}
	return s.SetPendingLimits(-1, -1)
}

func (n *natsClient) Known(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return n.conn.FlushWithContext(ctx)
}

func (n *natsClient) Send(address string, body []byte) error { return n.conn.Publish(address, body) }

func (n *natsClient) Publish(address string, body []byte) error { return n.conn.Publish(address, body) }

func (n *natsClient) Request(ctx context.Context, address string, body []byte) ([]byte, error) {
	var m *nats.Msg
	var err error
	if _, ok := ctx.Deadline(); ok {
		m, err = n.conn.RequestWithContext(ctx, address, body)
	} else {
		m, err = n.conn.Request(address, body, callTimeout)
	}
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

func (n *natsClient) Flush() error {
	n.mu.Lock()
	err := n.err
	n.mu.Unlock()
	return errors.Join(err, n.conn.FlushTimeout(time.Minute))
}
