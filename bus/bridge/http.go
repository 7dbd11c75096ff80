package bridge

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// sockjsBeat is how often SockJS says that this end lives.
const sockjsBeat = 25 * time.Second

// ServeHTTP serves SockJS over WebSockets, and WebSockets themselves, below the path
// that the handler is mounted at:
//
//	mux.Handle("/eventbus/", http.StripPrefix("/eventbus", b))
//
// Official clients are given the URL of /eventbus, others that of
// /eventbus/websocket. SockJS's other transports are refused with 501. ServeHTTP
// returns when the connection is a WebSocket, which [Bridge.Close] ends, and not
// http.Server.Shutdown. A client has its request, with its headers, for as long as it is
// connected: set http.Server.MaxHeaderBytes to less than the usual megabyte.
func (b *Bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	last := parts[len(parts)-1]
	switch {
	case len(parts) == 1 && last == "websocket":
		b.serveWebSocket(w, r, false)
	case len(parts) == 3 && last == "websocket":
		b.serveWebSocket(w, r, true)
	case len(parts) == 1 && last == "info":
		b.serveInfo(w, r)
	case len(parts) == 1 && last == "":
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		_, _ = fmt.Fprintln(w, "Welcome to SockJS!")
	case len(parts) == 3:
		b.allowOrigin(w, r)
		http.Error(w, fmt.Sprintf("this bridge has no SockJS transport %q: it speaks WebSocket alone", last), http.StatusNotImplemented)
	default:
		http.NotFound(w, r)
	}
}

// serveInfo tells a SockJS client what there is.
func (b *Bridge) serveInfo(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	b.allowOrigin(w, r)
	h.Set("Cache-Control", "no-store, no-cache, no-transform, must-revalidate, max-age=0")
	switch r.Method {
	case http.MethodGet:
		h.Set("Content-Type", "application/json; charset=UTF-8")
		_, _ = fmt.Fprintf(w, `{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":%d}`, rand.Uint32())
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "OPTIONS, GET")
		w.WriteHeader(http.StatusNoContent)
	default:
		h.Set("Allow", "OPTIONS, GET")
		http.Error(w, "info is for GET", http.StatusMethodNotAllowed)
	}
}

// allowOrigin lets pages of the allowed origins read the answer.
func (b *Bridge) allowOrigin(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && b.isAllowed(origin) {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Allow-Credentials", "true")
	}
}

func (b *Bridge) isAllowed(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	for _, pattern := range b.config.Origins {
		host := u.Host
		if strings.Contains(pattern, "://") {
			host = u.Scheme + "://" + u.Host
		}
		if ok, _ := path.Match(strings.ToLower(pattern), strings.ToLower(host)); ok || pattern == "*" {
			return true
		}
	}
	return false
}

// serveWebSocket makes a session of a request.
func (b *Bridge) serveWebSocket(w http.ResponseWriter, r *http.Request, sockjs bool) {
	switch {
	case b.isClosed():
		http.Error(w, ErrClosed.Error(), http.StatusServiceUnavailable)
		return
	case !b.mayConnect():
		http.Error(w, fmt.Sprintf("bridge: it has %d clients, and takes no more", b.limits.Clients), http.StatusServiceUnavailable)
		return
	}
	h := &hijacker{ResponseWriter: w}
	opts := websocket.AcceptOptions{OriginPatterns: b.config.Origins, CompressionMode: websocket.CompressionDisabled}
	for _, pattern := range b.config.Origins {
		opts.InsecureSkipVerify = opts.InsecureSkipVerify || pattern == "*"
	}
	conn, err := websocket.Accept(h, r, &opts)
	if err != nil {
		return // Accept has answered
	}
	conn.SetReadLimit(b.limits.wsFrame(sockjs))
	c := &Client{Transport: "websocket", Request: forget(r), TLS: r.TLS, Remote: h.conn.RemoteAddr()}
	ws := &wsWire{conn: conn, raw: h.conn, limit: b.limits.Frame}
	if !sockjs {
		b.start(c, dialect{}, ws, 0, b.limits.PingTimeout)
		return
	}
	c.Transport = "sockjs"
	b.start(c, dialect{}, &sockjsWire{wsWire: ws}, sockjsBeat, b.limits.PingTimeout)
}

// hijacker gives the WebSocket a connection that has small buffers, and keeps it, for
// its deadlines.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

const wsBuffer = 1 << 10 // of reading, and of writing

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = conn
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // which is there
	r := bufio.NewReaderSize(conn, max(wsBuffer, len(early)))
	if len(early) > 0 {
		r.Reset(&earlyReader{early: append([]byte(nil), early...), Conn: conn})
		_, _ = r.Peek(len(early)) // so that it is buffered, as the caller expects
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, bufio.NewReadWriter(r, bufio.NewWriterSize(conn, wsBuffer)), nil
}

// earlyReader reads what came before the connection was taken over.
type earlyReader struct {
	early []byte
	net.Conn
}

func (e *earlyReader) Read(b []byte) (int, error) {
	if len(e.early) == 0 {
		return e.Conn.Read(b)
	}
	n := copy(b, e.early)
	e.early = e.early[n:]
	return n, nil
}

// forget returns the request without what holds the server's memory.
func forget(r *http.Request) *http.Request {
	c := *r
	c.Body = http.NoBody
	return &c
}
