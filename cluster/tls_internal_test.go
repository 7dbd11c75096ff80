package cluster

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/wire"
	"github.com/runrig-go/runrig/discovery"
)

const testSecret = "0123456789abcdef0123456789abcdef"

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// started joins a node that is closed at the end of the test.
func started(t *testing.T, c Config) *Node {
	t.Helper()
	if c.Bind == "" {
		c.Bind = "127.0.0.1:0"
	}
	if c.Logger == nil {
		c.Logger = quiet()
	}
	n, err := Join(t.Context(), bus.New(bus.WithLogger(quiet())), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// secretClient is the client's side of secrets.
func secretClient(t *testing.T, protocol string, secrets ...string) *tls.Config {
	t.Helper()
	all, err := NewSecrets(secrets...).derive()
	if err != nil {
		t.Fatal(err)
	}
	setup, err := secretTLS(all)
	if err != nil {
		t.Fatal(err)
	}
	return setup.forDial(protocol, "127.0.0.1:1")
}

// greet opens a TLS stream to a node, says HELLO as a question and reads the
// answer.
func greet(t *testing.T, n *Node, c *tls.Config) (*wire.Greeting, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", n.Self().Addr, c)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	hello := greeting(&settings{cluster: DefaultCluster}, bus.Peer{Name: "x", Boot: 1, Addr: "127.0.0.1:1"})
	return exchange(conn, &hello)
}

// Who gets as far as an answer: holders of the secret that speak the protocol.
func TestWhoIsAnswered(t *testing.T) {
	t.Parallel()
	n := started(t, Config{Secrets: NewSecrets(testSecret, "the old one, of thirty-two bytes")})
	change := func(c *tls.Config, f func(*tls.Config)) *tls.Config { f(c); return c }
	for _, c := range []struct {
		what    string
		client  *tls.Config
		counted Refusals // what it is refused for; none: it is welcome, or garbage
	}{
		{"the secret", secretClient(t, alpnBus, testSecret), Refusals{}},
		{"the old secret", secretClient(t, alpnBus, "the old one, of thirty-two bytes", testSecret), Refusals{}},
		{"another secret, which checks nothing itself", change(secretClient(t, alpnBus, "something else of thirty-two byt"),
			func(c *tls.Config) { c.VerifyConnection = nil }), Refusals{Secret: 1}},
		{"no certificate", &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpnBus}}, Refusals{Secret: 1}},
		{"a protocol unknown", change(secretClient(t, "h2", testSecret), func(c *tls.Config) { c.VerifyConnection = nil }), Refusals{Version: 1}},
		{"no protocol", change(secretClient(t, alpnBus, testSecret),
			func(c *tls.Config) { c.VerifyConnection, c.NextProtos = nil, nil }), Refusals{Version: 1}},
		{"TLS 1.2", change(secretClient(t, alpnBus, testSecret),
			func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }), Refusals{}},
	} {
		before := n.Stats()
		welcome := strings.HasPrefix(c.what, "the ")
		w, err := greet(t, n, c.client)
		if (err == nil) != welcome {
			t.Errorf("%s: %+v, %v; want an answer: %v", c.what, w, err, welcome)
		}
		if welcome {
			continue
		}
		want := before
		want.Refused.Secret += c.counted.Secret
		want.Refused.Version += c.counted.Version
		if c.counted == (Refusals{}) {
			want.Garbage++
		} else if refused := new(RefusedError); !errors.As(typedTLS(err, "n"), &refused) || !refused.ByPeer {
			t.Errorf("%s: the client sees %v, want a refusal", c.what, err)
		}
		awaitStats(t, n, want)
	}
}

// authority makes certificates for 127.0.0.1.
type authority struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	a.cert, a.key = issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	a.pool.AddCert(a.cert)
	return a
}

func issue(t *testing.T, template *x509.Certificate, by *authority) (*x509.Certificate, ed25519.PrivateKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-2 * time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// config is the TLS of a node with a certificate of the authority.
func (a *authority) config(t *testing.T, ip string, expires time.Time) *tls.Config {
	cert, key := issue(t, &x509.Certificate{
		NotAfter: expires, IPAddresses: []net.IP{net.ParseIP(ip)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	return &tls.Config{RootCAs: a.pool, Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
}

// With a user's own authority both ends verify chain, time and address.
func TestOwnAuthority(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t), newAuthority(t)
	base := Config{Secrets: NewSecrets(testSecret), TLS: ours.config(t, "127.0.0.1", time.Time{})}
	n := started(t, base)
	for what, c := range map[string]struct {
		tls *tls.Config
		in  bool
	}{
		"ours":                {ours.config(t, "127.0.0.1", time.Time{}), true},
		"another authority's": {others.config(t, "127.0.0.1", time.Time{}), false},
		"expired":             {ours.config(t, "127.0.0.1", time.Now().Add(-time.Hour)), false},
		"the secret alone":    {nil, false},
	} {
		conf := base
		conf.TLS = c.tls
		conf.Discovery = discovery.Static(n.Self().Addr)
		m := started(t, conf)
		if linked := len(m.Members()) == 2 && m.Members()[0].Linked() && m.Members()[1].Linked(); linked != c.in {
			t.Errorf("%s: members %v", what, m.Members())
		}
	}
	wrongName := base
	wrongName.TLS = ours.config(t, "127.0.0.99", time.Time{}) // not where it is
	m := started(t, wrongName)
	_, _, err := ask(context.Background(), n.port, m.port.bound, n.peers.own)
	if !errors.Is(err, ErrSecret) {
		t.Errorf("a server with another address in its certificate: %v", err)
	}
}

// Each single refusal reaches both ends: it is not lost with the connection.
func TestRefusalIsRead(t *testing.T) {
	t.Parallel()
	plain := started(t, Config{})
	secured := started(t, Config{Secrets: NewSecrets(testSecret)})
	for range 50 {
		for from, to := range map[*Node]*Node{plain: secured, secured: plain} {
			if _, _, err := ask(t.Context(), from.port, to.port.bound, from.peers.own); !errors.Is(err, ErrSecret) {
				t.Fatalf("%v asks %v: %v, want %v", from.Self(), to.Self(), err, ErrSecret)
			}
		}
	}
}

// Strangers that fill their half of the places keep no member out.
func TestMembersKeepHalf(t *testing.T) {
	t.Parallel()
	n := started(t, Config{Secrets: NewSecrets(testSecret)})
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 77)}}
	member := Config{Logger: quiet(), Secrets: NewSecrets(testSecret), Bind: "127.0.0.78:0", Discovery: discovery.Static(n.Self().Addr)}
	m, err := Join(t.Context(), bus.New(bus.WithLogger(quiet())), member)
	if err != nil {
		t.Skip("needs the whole of 127/8 on the loopback:", err)
	}
	defer func() { _ = m.Close() }()
	var strangers []net.Conn
	for range maxStrangers {
		c, err := from.Dial("tcp", n.Self().Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		strangers = append(strangers, c)
	}
	for _, c := range strangers[maxStrangers/2:] { // the surplus is closed at once
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a stranger over the limit was let wait")
		}
	}
	if _, _, err := ask(t.Context(), m.port, n.port.bound, m.peers.own); !errors.Is(err, ErrStale) {
		t.Errorf("a member's question: %v, want its answer, %v", err, ErrStale)
	}
}

// A node whose gossip ends by itself is down, and says why.
func TestFailedNode(t *testing.T) {
	t.Parallel()
	n := started(t, Config{})
	events := n.Events(t.Context())
	if err := n.gossip.Shutdown(); err != nil {
		t.Fatal(err)
	}
	<-n.Done()
	if n.State() != StateEnded || !errors.Is(n.Err(), ErrEnded) {
		t.Errorf("state %v, error %v", n.State(), n.Err())
	}
	for range events { // is closed
	}
	if _, open := <-n.Events(t.Context()); open {
		t.Error("events of a node that is down")
	}
}

// deaf is a connection on which a client says its part and never reads.
type deaf struct {
	net.Conn
	closed chan struct{}
}

func (d deaf) Read([]byte) (int, error) { <-d.closed; return 0, net.ErrClosed }

// Clients that stop in the middle of a handshake hold none of the places for it.
func TestStalledHandshakes(t *testing.T) {
	t.Parallel()
	n := started(t, Config{Secrets: NewSecrets(testSecret)})
	closed := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 * maxHandshakes {
		c, err := net.Dial("tcp", n.Self().Addr)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { _ = tls.Client(deaf{c, closed}, secretClient(t, alpnBus, testSecret)).Handshake() })
		defer func() { _ = c.Close() }()
	}
	defer wg.Wait()
	defer close(closed)
	began := time.Now()
	if _, err := greet(t, n, secretClient(t, alpnBus, testSecret)); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("a member's handshake took %v", took)
	}
}

// Who dials verifies whom it dials by an authority that was named: one for clients
// is none.
func TestOwnAuthorityIsNamed(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	for what, c := range map[string]struct {
		change func(*tls.Config)
		ok     bool
	}{
		"RootCAs":            {func(*tls.Config) {}, true},
		"RootCAs, ClientCAs": {func(c *tls.Config) { c.ClientCAs = ours.pool }, true},
		"ClientCAs":          {func(c *tls.Config) { c.RootCAs, c.ClientCAs = nil, ours.pool }, false},
		"none":               {func(c *tls.Config) { c.RootCAs = nil }, false},
		"a function": {func(c *tls.Config) {
			c.RootCAs = nil
			c.VerifyConnection = func(tls.ConnectionState) error { return nil }
		}, true},
		"nobody verifies": {func(c *tls.Config) { c.InsecureSkipVerify = true }, false},
		"a function, and only": {func(c *tls.Config) {
			c.InsecureSkipVerify = true
			c.VerifyConnection = func(tls.ConnectionState) error { return nil }
		}, true},
	} {
		conf := ours.config(t, "127.0.0.1", time.Time{})
		c.change(conf)
		if _, err := ownTLS(conf); (err == nil) != c.ok {
			t.Errorf("%s: %v, want passes %v", what, err, c.ok)
		}
	}
}
