package bus_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// loopback makes connections over 127.0.0.1, by TCP as it is, on which callers
// write inline, or by TLS, on which only the links' writers do.
type loopback struct {
	ln     net.Listener
	secure *tls.Config // nil: none

	mu sync.Mutex // one dials and accepts at a time
}

// transports are what the tests on loopback run over.
var transports = map[string]func(testing.TB) *loopback{
	"TCP": func(tb testing.TB) *loopback { return newLoopback(tb, nil) },
	"TLS": func(tb testing.TB) *loopback { return newLoopback(tb, selfSigned(tb)) },
}

func newLoopback(tb testing.TB, secure *tls.Config) *loopback {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	return &loopback{ln: ln, secure: secure}
}

// selfSigned is for both ends of a connection.
func selfSigned(tb testing.TB) *tls.Config {
	tb.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		tb.Fatal(err)
	}
	return &tls.Config{
		Certificates:       []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // both ends are the test's
	}
}

// connect returns the two ends of a connection, and how to reset it.
func (lo *loopback) connect() (a, b net.Conn, reset func(), err error) {
	lo.mu.Lock()
	defer lo.mu.Unlock()
	if a, err = net.Dial("tcp", lo.ln.Addr().String()); err != nil {
		return nil, nil, nil, err
	}
	if b, err = lo.ln.Accept(); err != nil {
		a.Close()
		return nil, nil, nil, err
	}
	tcp := a.(*net.TCPConn)
	reset = func() {
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
	if lo.secure != nil {
		a, b = tls.Client(a, lo.secure), tls.Server(b, lo.secure)
	}
	return a, b, reset, nil
}

// node is a bus that is linked over a loopback.
type node struct {
	*bus.EventBus
	peer       bus.Peer
	attachment *bus.Attachment
	serving    sync.WaitGroup // its ends of links
}

// newNode returns a node of its own; the test closes it.
func newNode(tb testing.TB, number int, opts ...bus.Option) *node {
	tb.Helper()
	n := &node{
		EventBus: bus.New(append([]bus.Option{quiet}, opts...)...),
		peer:     bus.Peer{Name: fmt.Sprint("n", number), Boot: uint64(number + 1)},
	}
	var err error
	if n.attachment, err = n.Attach(n.peer, nil); err != nil {
		tb.Fatal(err)
	}
	return n
}

// link links two nodes, which hold the link until one of them leaves. It
// returns when the link is up, or refused by one that has left.
func (lo *loopback) link(tb testing.TB, a, b *node) {
	tb.Helper()
	x, y, _, err := lo.connect()
	if err != nil {
		tb.Error(err)
		return
	}
	var up, ended [2]chan struct{}
	var errs [2]error
	serve := func(i int, at, to *node, conn net.Conn) {
		up[i], ended[i] = make(chan struct{}), make(chan struct{})
		at.serving.Go(func() {
			errs[i] = at.attachment.ServeLink(context.Background(), to.peer, conn, func() { close(up[i]) })
			close(ended[i])
		})
	}
	serve(0, a, b, x)
	serve(1, b, a, y)
	for i := range up {
		select {
		case <-up[i]:
		case <-ended[i]:
		}
	}
	a.serving.Go(func() { // ends with the link
		<-ended[0]
		<-ended[1]
		for i, other := range []int{1, 0} {
			refused := errors.Is(errs[other], bus.ErrClosed) && !isClosed(up[i])
			if err := errs[i]; err != nil && !errors.Is(err, bus.ErrClosed) && !refused {
				tb.Errorf("link %s-%s: %v", a.peer.Name, b.peer.Name, err)
			}
		}
	})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// mesh returns n nodes, each linked with each over TCP, that are closed when
// the test ends.
func mesh(t *testing.T, n int) []*node {
	t.Helper()
	lo := newLoopback(t, nil)
	var nodes []*node
	t.Cleanup(func() { closeAll(nodes) })
	for i := range n {
		at := newNode(t, i, bus.WithDrainTimeout(time.Second))
		for _, to := range nodes {
			lo.link(t, at, to)
		}
		nodes = append(nodes, at)
	}
	return nodes
}

// closeAll closes nodes and waits until all that they ran has ended.
func closeAll(nodes []*node) {
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			_ = n.Close()
			n.serving.Wait()
		})
	}
	wg.Wait()
}
