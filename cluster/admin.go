package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/runrig-go/runrig/cluster/internal/guard"
)

// An admin stream carries HTTP to a node, over the node's one port. With a secret it
// is a protocol of its own beside those of links and gossip. Without one it begins
// with a byte that no browser sends, and must come from the node's own host.
const (
	alpnAdmin  = "runrig-admin/1"
	adminMagic = 0xAD
)

// Limits of admin streams.
const (
	maxAdmin     = 64          // at once
	adminIdle    = time.Minute // without a request, and for an answer that sets no other time
	adminHeaders = 16 << 10    // bytes of a request's headers
	adminLinger  = time.Second // for handlers to end when the node is down
)

var (
	errNoAdmin    = errors.New("it asks for an admin stream, which this node does not serve (Config.Admin)")
	errFarAdmin   = errors.New("it asks for an admin stream from another host, and this node has no secret")
	errManyAdmins = fmt.Errorf("it asks for an admin stream, and %d are open", maxAdmin)
)

// adminStreams hands the admin streams of a port to an HTTP server.
type adminStreams struct {
	ctx     context.Context // the port's
	addr    net.Addr
	streams chan net.Conn
	places  chan struct{}
}

func newAdminStreams(p *port) *adminStreams {
	return &adminStreams{ctx: p.ctx, addr: p.listener.Addr(), streams: make(chan net.Conn), places: make(chan struct{}, maxAdmin)}
}

// Accept waits for the next stream. It fails when the port is closed.
func (a *adminStreams) Accept() (net.Conn, error) {
	select {
	case c := <-a.streams:
		return c, nil
	case <-a.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close does nothing: the port closes.
func (a *adminStreams) Close() error { return nil }

// Addr returns the port's address.
func (a *adminStreams) Addr() net.Addr { return a.addr }

// hand gives a stream to the server, if there is a place for it.
func (a *adminStreams) hand(c net.Conn) error {
	select {
	case a.places <- struct{}{}:
	default:
		return errManyAdmins
	}
	_ = c.SetDeadline(time.Time{})
	held := &counted{Conn: c, free: sync.OnceFunc(func() { <-a.places })}
	select {
	case a.streams <- held:
	case <-a.ctx.Done():
		_ = held.Close()
	}
	return nil
}

// identifyAdmin hands on a stream of somebody who holds the secret, or where there
// is none comes from this host. Others are told why not.
func (p *port) identifyAdmin(c net.Conn) error {
	err := errNoAdmin
	switch {
	case p.admin == nil:
	case p.tls == nil && !addrPortOf(c.RemoteAddr()).Addr().IsLoopback():
		err = errFarAdmin
	default:
		err = p.admin.hand(c)
	}
	if err != nil {
		refuseAdmin(c, http.StatusServiceUnavailable, err.Error())
		linger(c)
	}
	return err
}

// refuseAdmin answers the first request of a stream, when something of it has come: an
// HTTP client takes no answer before it has asked.
func refuseAdmin(c io.ReadWriter, status int, why string) {
	_, _ = c.Read(make([]byte, 512))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(why), why)
}

// openAdmin has the port take admin streams, if the node is to serve them.
func (n *Node) openAdmin(make func(*Node) http.Handler) {
	if make == nil {
		return
	}
	var h http.Handler
	err := guard.Call("Config.Admin", func() error {
		if h = make(n); h == nil {
			return errors.New("Config.Admin returned no handler")
		}
		return nil
	})
	if err != nil {
		n.log.Error("node serves no admin streams", append(guard.Stack(err), "err", err)...)
		return
	}
	n.port.admin = newAdminStreams(n.port)
	n.wg.Go(func() { n.serveAdmin(h) })
}

// serveAdmin answers until the port is closed. The contexts of the handlers end
// then, and it waits for them, but not for long.
func (n *Node) serveAdmin(h http.Handler) {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: dialTimeout,
		IdleTimeout:       adminIdle,
		WriteTimeout:      adminIdle,
		MaxHeaderBytes:    adminHeaders,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelError), // a handler that panicked
		BaseContext:       func(net.Listener) context.Context { return n.port.ctx },
	}
	_ = s.Serve(n.port.admin) // it ends with the port
	ctx, cancel := context.WithTimeout(context.Background(), adminLinger)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		_ = s.Close()
	}
}

// DialAdmin opens a stream to the node at addr, "host:port", for the HTTP that its
// [Config].Admin serves. Of c it uses Secrets or, if set, TLS, and Network. The
// program need not be a node of the cluster, and does not become one. ctx bounds the
// dial, and so do 3 s for each address of the host.
//
// An error that matches [ErrSecret] says that the two hold no common secret; one that
// matches [ErrVersion], that the node serves no such streams. As TLS has it, a node
// that refuses says so only when the stream is read.
func DialAdmin(ctx context.Context, addr string, c Config) (net.Conn, error) {
	s := &settings{cluster: DefaultCluster, network: c.Network}
	if s.network == nil {
		s.network = systemNetwork{}
	}
	if err := c.secure(s); err != nil {
		return nil, err
	}
	at, err := resolveAdmin(ctx, addr)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, ap := range at {
		conn, err := dialAdmin(ctx, s, ap)
		if err == nil {
			return &adminConn{conn, ap.String()}, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("cluster: admin stream to %s: %w", addr, errors.Join(errs...))
}

// resolveAdmin returns the addresses of a host and port.
func resolveAdmin(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return []netip.AddrPort{ap}, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("cluster: address of a node %q is not \"host:port\": %w", addr, err)
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, fmt.Errorf("cluster: address of a node %q: %w", addr, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("cluster: address of a node %q: %w", addr, err)
	}
	var all []netip.AddrPort
	for _, ip := range ips {
		all = append(all, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
	}
	return all, nil
}

func dialAdmin(ctx context.Context, s *settings, addr netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := s.network.Dial(ctx, netip.Addr{}, addr)
	if err != nil {
		return nil, err
	}
	if s.tls == nil {
		_ = c.SetWriteDeadline(time.Now().Add(dialTimeout))
		_, err = c.Write([]byte{adminMagic})
		_ = c.SetWriteDeadline(time.Time{})
	} else {
		sec := secure(c, s.tls.forDial(alpnAdmin, addr.String()), tls.Client)
		c, err = sec, sec.HandshakeContext(ctx)
	}
	if err != nil {
		_ = c.Close()
		return nil, typedTLS(err, addr.String())
	}
	return c, nil
}

// adminConn is a stream whose refusal shows where it is read.
type adminConn struct {
	net.Conn
	addr string
}

// Read reads. An error by which the node refuses the secret says so.
func (c *adminConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, typedTLS(err, c.addr)
}
