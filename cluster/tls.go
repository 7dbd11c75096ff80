package cluster

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/internal/guard"
)

// The protocols that a TLS stream negotiates.
const (
	alpnGossip = "runrig-gossip/1"
	alpnBus    = "runrig-bus/1"
)

// curves are those of all nodes. Strangers cannot make one compute on the dearer
// ones.
var curves = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256}

// errStranger is the verdict on a peer whose key comes from no secret that this
// node accepts.
var errStranger = errors.New("the peer's key does not come from an accepted secret")

// A tlsSetup is the TLS of both ends of all streams.
type tlsSetup struct {
	server *tls.Config
	client *tls.Config // NextProtos and ServerName are set per dial
	pinned bool        // identity by secret, not by a certificate authority
}

// secretTLS makes the setup that accepts exactly the holders of a secret: every
// node shows a certificate of the key that the secret yields.
func secretTLS(all []keys) (*tlsSetup, error) {
	cert, err := certificate(all[0].link)
	if err != nil {
		return nil, fmt.Errorf("cluster: certificate of Config.Secrets: %w", err)
	}
	base := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		CurvePreferences:       curves,
		Certificates:           []tls.Certificate{cert},
		SessionTicketsDisabled: true,
		// The key alone decides, not names, chains or times.
		InsecureSkipVerify: true,
		ClientAuth:         tls.RequireAnyClientCert,
		VerifyConnection:   pinned(all),
	}
	server := base.Clone()
	server.NextProtos = []string{alpnBus, alpnGossip}
	return &tlsSetup{server: server, client: base, pinned: true}, nil
}

// pinned accepts the keys of all secrets. It runs on both ends.
func pinned(all []keys) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if err := checkProtocol(s); err != nil {
			return err
		}
		if len(s.PeerCertificates) != 1 {
			return errStranger
		}
		key, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
		if !ok {
			return errStranger
		}
		for _, k := range all {
			if k.link.Public().(ed25519.PublicKey).Equal(key) {
				return nil
			}
		}
		return errStranger
	}
}

// errProtocol says that the other end speaks TLS for something else than a node's
// protocols.
var errProtocol = errors.New("the peer asks for no protocol of a node")

// checkProtocol refuses what crypto/tls lets pass: a client that negotiates no
// protocol at all.
func checkProtocol(s tls.ConnectionState) error {
	switch s.NegotiatedProtocol {
	case alpnBus, alpnGossip, alpnAdmin:
	default:
		return fmt.Errorf("%w: it negotiated %q", errProtocol, s.NegotiatedProtocol)
	}
	return nil
}

// certificate is self-signed, and valid at any time: the clocks of nodes differ.
func certificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Unix(1<<33, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// ownTLS makes the setup of a user's own authority. Both ends verify, whatever
// the configuration says about clients.
func ownTLS(c *tls.Config) (*tlsSetup, error) {
	switch {
	case len(c.Certificates) == 0 && (c.GetCertificate == nil || c.GetClientCertificate == nil):
		return nil, errors.New("cluster: Config.TLS has no certificate: set Certificates, or both GetCertificate and GetClientCertificate")
	case c.GetConfigForClient != nil:
		return nil, errors.New("cluster: Config.TLS.GetConfigForClient is set; it would go past the checks of this package")
	case c.InsecureSkipVerify && c.VerifyConnection == nil && c.VerifyPeerCertificate == nil:
		return nil, errors.New("cluster: Config.TLS.InsecureSkipVerify is set without VerifyConnection: anybody could join")
	}
	own := c.RootCAs != nil || c.VerifyConnection != nil || c.VerifyPeerCertificate != nil
	switch {
	case !own:
		return nil, errors.New("cluster: Config.TLS.RootCAs is not set, the authority of the nodes that are dialled: the system's would be trusted, and whoever has a certificate of a public authority could join; set it, and ClientCAs where that is another one")
	case c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS13:
		return nil, errors.New("cluster: Config.TLS.MaxVersion is under TLS 1.3, which links need")
	}
	base := c.Clone()
	base.MinVersion = tls.VersionTLS13
	if base.CurvePreferences == nil {
		base.CurvePreferences = curves
	}
	base.SessionTicketsDisabled = true
	base.VerifyConnection = func(s tls.ConnectionState) error {
		if err := checkProtocol(s); err != nil || c.VerifyConnection == nil {
			return err
		}
		return c.VerifyConnection(s)
	}
	if c.KeyLogWriter != nil {
		base.KeyLogWriter = keyLog{c.KeyLogWriter}
	}
	server := base.Clone()
	server.NextProtos = []string{alpnBus, alpnGossip}
	server.ClientAuth = tls.RequireAndVerifyClientCert
	if c.InsecureSkipVerify {
		server.ClientAuth = tls.RequireAnyClientCert // the user's own functions verify
	}
	if server.ClientCAs == nil {
		server.ClientCAs = c.RootCAs
	}
	return &tlsSetup{server: server, client: base}, nil
}

// keyLog is a Config.TLS.KeyLogWriter, which crypto/tls calls with a lock that a
// panic would leave locked.
type keyLog struct{ next io.Writer }

// Write has next write.
func (k keyLog) Write(b []byte) (n int, err error) {
	err = guard.Call("KeyLogWriter of Config.TLS", func() error {
		n, err = k.next.Write(b)
		return err
	})
	return n, err
}

// forDial returns the configuration for a stream to addr.
func (t *tlsSetup) forDial(protocol, addr string) *tls.Config {
	c := t.client.Clone()
	c.NextProtos = []string{protocol}
	if c.ServerName == "" && !t.pinned {
		c.ServerName, _, _ = net.SplitHostPort(addr)
	}
	return c
}

// tlsAlerts are the alerts by which the other end says that it refuses this one.
// crypto/tls gives them no exported type, but an Op of their own and these texts.
var tlsAlerts = []string{
	"handshake failure", "bad certificate", "unsupported certificate", "revoked certificate", "expired certificate",
	"unknown certificate", "unknown certificate authority", "access denied", "certificate required",
}

// What crypto/tls says of a client that shows no certificate, or asks for
// protocols that are none of a node's; neither has a type.
const (
	tlsNoCertificate = "client didn't provide a certificate"
	tlsNoProtocol    = "client requested unsupported application protocols"
	tlsAlertProtocol = "no application protocol" // the other end's word for the latter
)

// refusedTLS returns why one of the two ends of a TLS stream refused the other,
// if an error means that, and which did.
func refusedTLS(err error) (reason error, byPeer bool) {
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		switch text := strings.TrimPrefix(alert.Err.Error(), "tls: "); {
		case slices.Contains(tlsAlerts, text):
			return ErrSecret, true
		case text == tlsAlertProtocol:
			return ErrVersion, true
		}
		return nil, false
	}
	var verify *tls.CertificateVerificationError
	switch {
	case err == nil:
	case errors.Is(err, errProtocol), strings.Contains(err.Error(), tlsNoProtocol):
		return ErrVersion, false
	case errors.Is(err, errStranger), errors.As(err, &verify), strings.Contains(err.Error(), tlsNoCertificate):
		return ErrSecret, false
	}
	return nil, false
}

// typedTLS turns an error of a TLS stream into a RefusedError if it means one.
// err may come from the handshake or from the first read after it: a client
// learns only there that the server refused it.
func typedTLS(err error, peer string) error {
	if reason, byPeer := refusedTLS(err); reason != nil {
		return &RefusedError{Reason: reason, Peer: peer, ByPeer: byPeer, Detail: printable(err.Error())}
	}
	return err
}

// refuseTLS answers a TLS client in the name of a node that has no secret: the
// alert "bad certificate" tells it why.
func refuseTLS(w io.Writer) { _, _ = w.Write([]byte{0x15, 3, 3, 0, 2, 2, 42}) }
