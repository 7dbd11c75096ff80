package enginetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A proxy is between a client and a server. While lose is set it passes on nothing that
// the server says.
type proxy struct {
	addr string
	lose atomic.Bool

	mu      sync.Mutex
	clients []net.Conn // that have come, those that have gone too
}

// cut ends all connections there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		_ = c.Close()
	}
}

func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String()}
	var connections sync.WaitGroup
	connections.Go(func() { // until the listener is closed
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.clients = append(p.clients, client)
			p.mu.Unlock()
			connections.Go(func() { p.relay(client, server) }) // until one end closes it
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		connections.Wait() // the clients are closed before
	})
	return p
}

func (p *proxy) relay(client net.Conn, server string) {
	defer client.Close()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	var requests sync.WaitGroup
	requests.Go(func() {
		_, _ = io.Copy(upstream, client)
		_ = upstream.Close()
	})
	reply := make([]byte, 64<<10)
	for {
		n, err := upstream.Read(reply)
		if err != nil {
			break
		}
		if p.lose.Load() {
			continue
		}
		if _, err := client.Write(reply[:n]); err != nil {
			break
		}
	}
	_, _ = client.Close(), upstream.Close()
	requests.Wait()
}

// hostPort finds the server in an address of an engine.
var hostPort = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// testLostReply: a put whose reply is lost is not sent again, as it would be a
// conflict with itself, and is done once.
func testLostReply(t *testing.T, e engine, address string) {
	p := startProxy(t, hostPort.FindString(address))
	s, key := e.open(t, e.at(p.addr)), rand.Text()
	if _, err := s.Put(t.Context(), "before "+key, nil, 0); err != nil { // it connects and prepares
		t.Fatal(err)
	}
	p.lose.Store(true)
	put := make(chan error, 1)
	go func() { // ends with the put
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		version, err := s.Put(ctx, key, []byte("x"), 0)
		if err == nil {
			err = fmt.Errorf("Put whose reply was lost returned version %d", version)
		}
		put <- err
	}()
	direct := e.open(t, address)
	for value, _ := get(t, direct, key); string(value) != "x"; value, _ = get(t, direct, key) {
		select {
		case err := <-put:
			t.Fatal("the put was not done:", err)
		default:
		}
	}
	p.lose.Store(false)
	p.cut()
	wantUnknown(t, <-put)
	if value, version := get(t, direct, key); string(value) != "x" || version == 0 {
		t.Errorf("after the put there is %q, version %d", value, version)
	}
}
