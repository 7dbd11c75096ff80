package cluster

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"
)

// A server holds a place while it computes, also for a client that makes it ask
// for another ClientHello, and none afterwards.
func TestPlacesForHandshakes(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		accepts tls.CurveID
		again   bool
	}{"at once": {tls.X25519, false}, "asked again": {tls.CurveP256, true}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			all, err := NewSecrets(testSecret).derive()
			if err != nil {
				t.Fatal(err)
			}
			setup, err := secretTLS(all)
			if err != nil {
				t.Fatal(err)
			}
			places := make(chan struct{}, maxHandshakes)
			var held int
			var again bool
			server := setup.server.Clone()
			server.CurvePreferences = []tls.CurveID{c.accepts}
			server.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				held, again = len(places), hello.HelloRetryRequest
				return &setup.server.Certificates[0], nil
			}
			server.Certificates = nil
			client := setup.forDial(alpnBus, "127.0.0.1:1")
			client.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
			l, err := net.Listen("tcp", "127.0.0.1:0") // not a pipe: both ends write at once
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			done := make(chan error, 1)
			go func() {
				far, err := tls.Dial("tcp", l.Addr().String(), client)
				if err == nil {
					defer func() { _ = far.Close() }()
				}
				done <- err
			}()
			near, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = near.Close() }()
			gate := &gated{Conn: near, ctx: t.Context(), places: places}
			if err := errors.Join(tls.Server(gate, server).HandshakeContext(t.Context()), <-done); err != nil {
				t.Fatal(err)
			}
			if held != 1 || len(places) != 0 || again != c.again {
				t.Errorf("held %d, then %d; asked again: %v, want 1, 0, %v", held, len(places), again, c.again)
			}
		})
	}
}

// A client that shares only the dearest of curves with a node is refused.
func TestCurves(t *testing.T) {
	t.Parallel()
	n := started(t, Config{Secrets: NewSecrets(testSecret)})
	for curve, ok := range map[tls.CurveID]bool{tls.X25519MLKEM768: true, tls.X25519: true, tls.CurveP256: true, tls.CurveP384: false, tls.CurveP521: false} {
		c := secretClient(t, alpnBus, testSecret)
		c.CurvePreferences = []tls.CurveID{curve}
		if _, err := greet(t, n, c); (err == nil) != ok {
			t.Errorf("%v: %v, want passes %v", curve, err, ok)
		}
	}
}
