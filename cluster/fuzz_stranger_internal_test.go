package cluster

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/wire"
)

// script is a connection on which a stranger says what is in it and closes.
type script struct {
	io.Reader
	answer bytes.Buffer
}

func (s *script) Write(b []byte) (int, error)      { return s.answer.Write(b) }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// FuzzStranger lets a stranger say anything to a port, with and without a secret.
// Only what is well formed gets through to the node, and with a secret nothing
// does.
func FuzzStranger(f *testing.F) {
	hello := greeting(&settings{cluster: DefaultCluster}, bus.Peer{Name: "x", Boot: 1, Addr: "127.0.0.1:1"})
	var b bytes.Buffer
	_ = wire.Write(&b, &hello)
	f.Add(append([]byte{busMagic}, b.Bytes()...))
	f.Add([]byte{busMagic})
	f.Add([]byte{tlsRecord, 3, 1, 0, 5, 1, 0, 0, 1, 0})
	f.Add([]byte{gossipLabel, 1, 'c'})
	f.Add([]byte("\xf4\x01c\x06\x83\xa5Nodes\xcd\x01\x00\xacUserStateLen\xd2\x00\x00\x01\x00\xa4Join\xc2"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	all, err := NewSecrets(testSecret).derive()
	if err != nil {
		f.Fatal(err)
	}
	secured, err := secretTLS(all)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, setup := range []*tlsSetup{nil, secured} {
			var got []*wire.Greeting
			p := &port{
				envelope: &envelope{label: []byte("\xf4\x01c"), events: newEventGate()},
				tls:      setup, hello: func(c caller) { got = append(got, c.hello) }, own: hello,
				handshakes: make(chan struct{}, 1), streams: make(chan struct{}, 1), said: pool{left: maxStreams},
				gossip: make(chan net.Conn, 1), packets: make(chan *memberlist.Packet),
				ctx: t.Context(),
			}
			err := p.identify(&script{Reader: bytes.NewReader(said)})
			if setup != nil && (err == nil || len(got)+len(p.gossip) > 0) {
				t.Fatalf("a stranger got in: %v, %d greetings, %d gossip streams", err, len(got), len(p.gossip))
			}
			for _, g := range got {
				if err := wellFormed(g); err != nil {
					t.Fatal(err)
				}
			}
			if len(p.handshakes) > 0 {
				t.Fatal("the place for a handshake is not given back")
			}
		}
	})
}
