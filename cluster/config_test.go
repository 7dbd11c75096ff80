package cluster_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
)

// placed is a provider that knows where its node is, or should.
type placed struct {
	discovery.Provider
	self discovery.Self
	err  error
}

func (p placed) Self(context.Context) (discovery.Self, error) { return p.self, p.err }

// Each bad setting is an error at once, which names the field, and leaves no
// node and a bus that can still join.
func TestBadConfig(t *testing.T) {
	t.Setenv("RUNRIG_TEST_SHORT", secret+", hunter2")
	good := cluster.NewSecrets(secret)
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = used.Close() })
	lost := errors.New("metadata lost")
	for what, c := range map[string]struct {
		config cluster.Config
		says   []string
	}{
		"routable bind without secrets":        {cluster.Config{Bind: "0.0.0.0:0"}, []string{"Config.Bind", "Secrets", "Insecure"}},
		"empty host without secrets":           {cluster.Config{Bind: ":7946"}, []string{"Config.Bind", "Secrets"}},
		"bind without a port":                  {cluster.Config{Bind: "127.0.0.1"}, []string{"Config.Bind", `"127.0.0.1"`, "IP:port"}},
		"bind at a name":                       {cluster.Config{Bind: "example.org:7946"}, []string{"Config.Bind", "example.org", "not an IP address"}},
		"bind at a named port":                 {cluster.Config{Bind: "127.0.0.1:http"}, []string{"Config.Bind", "http"}},
		"bind at a huge port":                  {cluster.Config{Bind: "127.0.0.1:65536"}, []string{"Config.Bind", "65536"}},
		"port in use":                          {cluster.Config{Bind: used.Addr().String()}, []string{"Config.Bind", used.Addr().String(), "in use"}},
		"advertise unspecified":                {cluster.Config{Advertise: "0.0.0.0"}, []string{"Config.Advertise", "unspecified"}},
		"advertise unspecified with port":      {cluster.Config{Advertise: "[::]:7946"}, []string{"Config.Advertise", "unspecified"}},
		"advertise loopback, routable":         {cluster.Config{Bind: "0.0.0.0:0", Secrets: good, Advertise: "127.0.0.1"}, []string{"Config.Advertise", "loopback"}},
		"advertise link-local":                 {cluster.Config{Bind: "0.0.0.0:0", Secrets: good, Advertise: "169.254.172.2"}, []string{"Config.Advertise", "169.254.172.2", "link-local", "0.0.0.0", "give another one"}},
		"discovery tells link-local":           {cluster.Config{Bind: "0.0.0.0:0", Secrets: good, Discovery: placed{discovery.Static(), discovery.Self{Addr: "fe80::1"}, nil}}, []string{"Config.Discovery", "fe80::1", "link-local"}},
		"advertise the network, bind loopback": {cluster.Config{Bind: "127.0.0.1:0", Advertise: "10.0.1.7"}, []string{"Config.Advertise", "10.0.1.7", "127.0.0.1", "loopback"}},
		"discovery tells the network, no secrets": {cluster.Config{Discovery: placed{discovery.Static(), discovery.Self{Addr: "10.0.1.7"}, nil}},
			[]string{"Config.Discovery", "10.0.1.7", "127.0.0.1", "loopback", "Secrets", "Insecure"}},
		"advertise the network, bind link-local": {cluster.Config{Bind: "169.254.172.2:0", Secrets: good, Advertise: "10.0.1.7"}, []string{"Config.Advertise", "169.254.172.2", "link-local"}},
		"advertise multicast":                    {cluster.Config{Bind: "0.0.0.0:0", Secrets: good, Advertise: "224.0.0.1"}, []string{"Config.Advertise", "multicast"}},
		"advertise broadcast":                    {cluster.Config{Bind: "0.0.0.0:0", Secrets: good, Advertise: "255.255.255.255"}, []string{"Config.Advertise", "broadcast"}},
		"advertise a name":                       {cluster.Config{Advertise: "example.org:7946"}, []string{"Config.Advertise", "example.org"}},
		"advertise port 0":                       {cluster.Config{Advertise: "10.0.0.1:0"}, []string{"Config.Advertise", "port 0"}},
		"advertise from discovery": {cluster.Config{Discovery: placed{discovery.Static(), discovery.Self{Addr: "::"}, nil}},
			[]string{"Config.Discovery", "unspecified"}},
		"discovery is a nil pointer": {cluster.Config{Discovery: (*placed)(nil)}, []string{"Config.Discovery", "nil *cluster_test.placed"}},
		"discovery does not know":    {cluster.Config{Discovery: placed{discovery.Static(), discovery.Self{}, lost}}, []string{"Config.Discovery", "metadata lost", "Config.Name", "Config.Advertise"}},
		"short secret":               {cluster.Config{Secrets: cluster.NewSecrets(secret, "hunter2")}, []string{"Config.Secrets", "secret 2 of 2", "7 bytes", "32"}},
		"no secret":                  {cluster.Config{Secrets: cluster.NewSecrets()}, []string{"Config.Secrets", "no secret"}},
		"secret variable not there":  {cluster.Config{Secrets: cluster.SecretsFromEnv("RUNRIG_TEST_NONE")}, []string{"Config.Secrets", "RUNRIG_TEST_NONE", "not set"}},
		"secret variable too short":  {cluster.Config{Secrets: cluster.SecretsFromEnv("RUNRIG_TEST_SHORT")}, []string{"Config.Secrets", "RUNRIG_TEST_SHORT", "7 bytes"}},
		"TLS without secrets":        {cluster.Config{TLS: &tls.Config{}}, []string{"Config.TLS", "Config.Secrets"}},
		"TLS without certificate":    {cluster.Config{TLS: &tls.Config{}, Secrets: good}, []string{"Config.TLS", "certificate"}},
		"TLS that verifies nothing":  {cluster.Config{TLS: &tls.Config{InsecureSkipVerify: true, Certificates: make([]tls.Certificate, 1)}, Secrets: good}, []string{"Config.TLS.InsecureSkipVerify"}},
		"name with a space":          {cluster.Config{Name: "a b"}, []string{"Config.Name", `"a b"`}},
		"name too long":              {cluster.Config{Name: strings.Repeat("n", 112)}, []string{"Config.Name", "111"}},
		"cluster name too long":      {cluster.Config{Cluster: strings.Repeat("c", 65)}, []string{"Config.Cluster", "64"}},
		"reserved tag":               {cluster.Config{Tags: map[string]string{"_boot": "1"}}, []string{"Config.Tags", `"_boot"`}},
		"empty tag":                  {cluster.Config{Tags: map[string]string{"": "1"}}, []string{"Config.Tags"}},
		"tags too large":             {cluster.Config{Tags: map[string]string{"k": strings.Repeat("v", 480)}}, []string{"Config.Tags", "512"}},
	} {
		t.Run(what, func(t *testing.T) {
			eb := bus.New()
			c.config.Logger = logger()
			n, err := cluster.Join(t.Context(), eb, c.config)
			if err == nil {
				_ = n.Close()
				t.Fatal("joined")
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("error %q does not say %q", err, s)
				}
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q shows a secret", err)
			}
		})
	}
}

func TestJoinOfANilBus(t *testing.T) {
	t.Parallel()
	if _, err := cluster.Join(t.Context(), nil, cluster.Config{}); err == nil {
		t.Error("no error")
	}
}

// What a provider knows about its node are defaults; the Config goes first.
func TestIdentifier(t *testing.T) {
	t.Parallel()
	p := placed{discovery.Static(), discovery.Self{Name: "task1", Addr: "127.0.0.9", Tags: map[string]string{"zone": "z1", "rack": "r"}}, nil}
	n, _ := join(t, cluster.Config{Discovery: p, Tags: map[string]string{"zone": "mine"}})
	self := n.Self()
	if self.Name != "task1" || !strings.HasPrefix(self.Addr, "127.0.0.9:") || self.Tags["zone"] != "mine" || self.Tags["rack"] != "r" {
		t.Errorf("Self() = %+v", self)
	}
	m, _ := join(t, cluster.Config{Discovery: placed{discovery.Static(), discovery.Self{}, errors.New("lost")}, Name: "own", Advertise: "127.0.0.1:1234"})
	if self := m.Self(); self.Name != "own" || self.Addr != "127.0.0.1:1234" {
		t.Errorf("Self() = %+v", self)
	}
}

// Without a Bind and without secrets a node takes the next free port of the
// loopback.
func TestDefaultBind(t *testing.T) {
	t.Parallel()
	for range 2 {
		eb := bus.New()
		n, err := cluster.Join(t.Context(), eb, cluster.Config{Logger: logger()})
		if err != nil {
			t.Skip("all ten ports are in use here:", err)
		}
		t.Cleanup(func() { _ = n.Close() })
		if host, port, _ := net.SplitHostPort(n.Self().Addr); host != "127.0.0.1" || port < "7946" || port > "7955" {
			t.Errorf("advertises %s", n.Self().Addr)
		}
	}
}

func TestSecretsRedactThemselves(t *testing.T) {
	t.Setenv("RUNRIG_TEST_SECRETS", secret+" "+secret+"\n,"+secret)
	type holder struct {
		hidden cluster.Secrets
		Shown  cluster.Secrets
	}
	s := cluster.SecretsFromEnv("RUNRIG_TEST_SECRETS")
	var texts []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, holder{s, s}), fmt.Sprintf(verb, cluster.Config{Secrets: s}))
	}
	b, err := json.Marshal(holder{s, s})
	if err != nil {
		t.Fatal(err)
	}
	texts = append(texts, string(b))
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "secrets", s, "holder", holder{s, s})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "secrets", s, "holder", holder{s, s})
	texts = append(texts, log.String())
	for _, text := range texts {
		if strings.Contains(text, secret[:8]) || strings.Contains(text, fmt.Sprintf("%x", secret[:8])) {
			t.Errorf("shown: %s", text)
		}
	}
	if got := fmt.Sprint(s); got != "[3 secrets, redacted]" {
		t.Errorf("Sprint gives %s", got)
	}
	if got := fmt.Sprint(cluster.Secrets{}); got != "[no secrets]" {
		t.Errorf("Sprint of none gives %s", got)
	}
}
