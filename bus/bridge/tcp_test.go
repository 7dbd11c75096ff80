package bridge_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/bus/bustest"
)

// certificate returns one that its own holder has signed.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, cert
}

// serveAt serves a bridge at a listener, until the end of the test.
func serveAt(t *testing.T, l net.Listener, c bridge.Config) *bridge.Bridge {
	t.Helper()
	c.Logger = slog.New(slog.DiscardHandler)
	b, err := bridge.New(bustest.NewBus(t), c)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.ServeTCP(l) }()
	t.Cleanup(func() {
		_ = b.Close()
		if err := <-served; err != bridge.ErrClosed {
			t.Error(err)
		}
	})
	return b
}

// Over TLS the hook has the client's certificate, and who shows none is no client.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	server, serverCert := certificate(t, "bridge")
	client, clientCert := certificate(t, "ada")
	trusts := func(c *x509.Certificate) *x509.CertPool {
		p := x509.NewCertPool()
		p.AddCert(c)
		return p
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: trusts(clientCert), ClientAuth: tls.RequireAndVerifyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	b := serveAt(t, l, bridge.Config{Rules: everything, Authorize: func(_ context.Context, c *bridge.Client, e *bridge.Event) error {
		if e.Kind == bridge.Send {
			return errors.New("you are " + c.TLS.PeerCertificates[0].Subject.CommonName)
		}
		return nil
	}})
	conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{Certificates: []tls.Certificate{client}, RootCAs: trusts(serverCert), ServerName: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	p := &tcpPeer{t, conn, bufio.NewReader(conn)}
	defer p.close()
	p.write(`{"type":"send","address":"x"}`)
	if got := p.read(); !strings.Contains(got, "you are ada") {
		t.Error(got)
	}
	stranger, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: trusts(serverCert), ServerName: "bridge"})
	if err == nil {
		defer func() { _ = stranger.Close() }()
		if _, err = io.ReadAll(stranger); err == nil {
			t.Error("who shows no certificate is connected")
		}
	}
	if s := b.Stats(); s.Connected != 1 {
		t.Errorf("%+v", s)
	}
}

// A bridge serves unix sockets, too.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Skip(err)
	}
	serveAt(t, l, bridge.Config{Rules: everything})
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := &tcpPeer{t, conn, bufio.NewReader(conn)}
	defer p.close()
	p.write(`{"type":"register","address":"x"}`)
	p.write(`{"type":"publish","address":"x","headers":{"a":"b"},"body":1}`)
	expect(t, p, `{"type":"message","address":"x","headers":{"a":"b"},"body":1,"send":false}`)
}

// ServeTCP ends when its listener does, and says so, and of a bridge that is closed at
// once.
func TestServeTCPEnds(t *testing.T) {
	t.Parallel()
	b, err := bridge.New(bustest.NewBus(t), bridge.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.ServeTCP(l) }()
	_ = l.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Error(err)
	}
	_ = b.Close()
	l, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ServeTCP(l); err != bridge.ErrClosed {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("the listener is open")
	}
}
