package enginetest

import (
	"crypto/rand"
	"io"
	"net"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
)

// A proxy is between a client and a server, and loses a reply when it is told to: it
// ends the connection instead.
type proxy struct {
	addr string
	lose atomic.Bool // the next reply
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
		if err != nil || p.lose.CompareAndSwap(true, false) {
			break
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
	if version, err := s.Put(t.Context(), key, []byte("x"), 0); err == nil {
		t.Errorf("Put whose reply was lost returned version %d", version)
	} else {
		wantUnknown(t, err)
	}
	if value, version := get(t, e.open(t, address), key); string(value) != "x" || version == 0 {
		t.Errorf("the put was not done: %q, version %d", value, version)
	}
}
