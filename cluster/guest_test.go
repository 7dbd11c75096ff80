package cluster_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
)

// faults are the ways in which a function of the program's may not return.
var faults = map[string]func(){"panics": func() { panic("no") }, "ends its goroutine": runtime.Goexit}

// A provider that does not return from Peers has failed: the log has the stack, and
// it is asked again.
func TestGuestProvider(t *testing.T) {
	t.Parallel()
	for how, fail := range faults {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				n, j, _ := alone(t, discovery.Merge(discovery.Static(), discovery.ProviderFunc(func(context.Context) ([]string, error) {
					if asked.Add(1) <= 3 {
						fail()
					}
					return nil, nil
				})))
				if got := n.State(); got != cluster.StateJoining {
					t.Errorf("state %v, want joining", got)
				}
				if got := j.count("discovery could not be asked", "Peers of discovery.ProviderFunc", "guest_test.go"); got != 1 {
					t.Errorf("%d lines with the stack, want one", got)
				}
				time.Sleep(2 * time.Minute)
				if got := n.State(); got != cluster.StateAlone {
					t.Errorf("state %v after an answer, want alone", got)
				}
			})
		})
	}
}

// selfFunc is an Identifier whose Self is a function.
type selfFunc struct {
	discovery.Provider
	self func(context.Context) (discovery.Self, error)
}

func (s selfFunc) Self(ctx context.Context) (discovery.Self, error) { return s.self(ctx) }

// Join ends by its context, and within ten seconds, whatever Self does; a Config
// that says all goes without its answer.
func TestGuestSelf(t *testing.T) {
	t.Parallel()
	ways := map[string]func(context.Context) (discovery.Self, error){
		"ignores its context": func(context.Context) (discovery.Self, error) {
			time.Sleep(time.Hour)
			return discovery.Self{}, nil
		},
	}
	for how, fail := range faults {
		ways[how] = func(context.Context) (discovery.Self, error) { fail(); return discovery.Self{}, nil }
	}
	for how, self := range ways {
		for _, c := range []struct {
			name, advertise string
			limit           time.Duration // of the context
			want            time.Duration // that it takes at most
		}{
			{"", "", time.Hour, 10 * time.Second},
			{"", "", time.Second, time.Second},
			{"n", "10.1.0.1", time.Hour, 10 * time.Second},
			{"n", "10.1.0.1", time.Second, time.Second},
		} {
			t.Run(how+" "+c.name+c.limit.String(), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), c.limit)
					defer cancel()
					host := clustertest.NewNetwork(1).Host(netip.MustParseAddr("10.1.0.1"))
					begin := time.Now()
					n, err := cluster.Join(ctx, bus.New(bus.WithLogger(nil)), cluster.Config{Name: c.name, Advertise: c.advertise,
						Network: host, Insecure: true, Logger: slog.New(slog.DiscardHandler), Discovery: selfFunc{discovery.Static(), self}})
					if took := time.Since(begin); took > c.want+time.Second {
						t.Errorf("took %v", took)
					}
					if all := c.name != ""; (err == nil) != all || !all && !strings.Contains(err.Error(), "Config.Discovery cannot tell this node's place") {
						t.Errorf("error %v", err)
					}
					if err == nil {
						_ = n.Close()
					}
					time.Sleep(2 * time.Hour) // gossip's last timers, and Self's
				})
			})
		}
	}
}

// badLog is a log handler that fails.
type badLog struct {
	slog.Handler
	fail func()
}

func (badLog) Enabled(context.Context, slog.Level) bool { return true }

func (l badLog) Handle(context.Context, slog.Record) error { l.fail(); return nil }

// A log handler that fails at each line harms nothing: nodes link, see others die
// and come, and close.
func TestGuestLog(t *testing.T) {
	t.Parallel()
	for how, fail := range faults {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
				c.Kill(2)
				c.Restart(2)
				time.Sleep(time.Minute)
				c.AwaitLinked(0, 1, 3)
				for _, i := range []int{0, 1, 3} {
					if err := c.Node(i).Close(); err != nil {
						t.Error(err)
					}
				}
			}, clustertest.WithConfig(func(_ int, c *cluster.Config) { c.Logger = slog.New(badLog{slog.DiscardHandler, fail}) }))
		})
	}
}

// signer is a private key that is elsewhere.
type signer struct {
	ed25519.PrivateKey
	hook func()
}

func (s signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.hook()
	return s.PrivateKey.Sign(rand, digest, opts)
}

type hooked func()

func (h hooked) Write(b []byte) (int, error) { h(); return len(b), nil }

// What a program gives in a tls.Config ends the handshakes at which it fails, and
// nothing else: the log has the stack, and when it works again nodes link again.
func TestGuestTLS(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(c *tls.Config, hook func()){
		"GetCertificate": func(c *tls.Config, hook func()) {
			cert := c.Certificates[0]
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { hook(); return &cert, nil }
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
			c.Certificates = nil
		},
		"GetClientCertificate": func(c *tls.Config, hook func()) {
			cert := c.Certificates[0]
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { hook(); return &cert, nil }
		},
		"VerifyConnection": func(c *tls.Config, hook func()) {
			c.VerifyConnection = func(tls.ConnectionState) error { hook(); return nil }
		},
		"VerifyPeerCertificate": func(c *tls.Config, hook func()) {
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { hook(); return nil }
		},
		"PrivateKey": func(c *tls.Config, hook func()) {
			c.Certificates[0].PrivateKey = signer{c.Certificates[0].PrivateKey.(ed25519.PrivateKey), hook}
		},
		"KeyLogWriter": func(c *tls.Config, hook func()) { c.KeyLogWriter = hooked(hook) },
	} {
		for how, fail := range faults {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				j := new(journal)
				var broken atomic.Bool
				hook := func() {
					if broken.Load() {
						fail()
					}
				}
				clustertest.Run(t, 2, func(t *testing.T, c *clustertest.Cluster) {
					broken.Store(true)
					c.Reset(0, 1)
					time.Sleep(10 * time.Second)
					if j.count("ERROR", "TLS handshake failed", "of Config.TLS", "stack=") == 0 {
						t.Error("nothing is logged")
					}
					broken.Store(false)
					time.Sleep(30 * time.Second)
					c.AwaitLinked()
					broken.Store(true)
					if err := c.Node(1).Close(); err != nil {
						t.Error(err)
					}
				}, clustertest.WithConfig(func(_ int, c *cluster.Config) {
					c.Insecure, c.Secrets, c.TLS = false, cluster.NewSecrets(secret), ownTLS(t)
					c.Logger = slog.New(slog.NewTextHandler(j, nil))
					set(c.TLS, hook)
				}))
			})
		}
	}
}

// ownTLS is a configuration of the program's own, which believes everybody.
func ownTLS(t *testing.T) *tls.Config {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates:       []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("no certificate")
			}
			return nil
		},
	}
}
