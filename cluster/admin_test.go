package cluster_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster"
)

// adminClient speaks HTTP to the node at addr with what c says.
func adminClient(t *testing.T, addr string, c cluster.Config) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return cluster.DialAdmin(ctx, addr, c)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// askAdmin returns the status and body of an answer.
func askAdmin(t *testing.T, addr string, c cluster.Config) (int, string, error) {
	t.Helper()
	resp, err := adminClient(t, addr, c).Get("http://node.invalid/name")
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// tellName answers with the name of the node.
func tellName(n *cluster.Node) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, n.Self().Name) })
}

// TestAdmin: HTTP comes over the node's own port, with the secret and never without.
func TestAdmin(t *testing.T) {
	t.Parallel()
	one, two := cluster.NewSecrets(secret), cluster.NewSecrets("another secret of thirty-two byte")
	secured, _ := join(t, cluster.Config{Name: "secured", Secrets: one, Admin: tellName})
	plain, _ := join(t, cluster.Config{Name: "plain", Admin: tellName})
	mute, _ := join(t, cluster.Config{Name: "mute", Secrets: one})
	for what, c := range map[string]struct {
		to     *cluster.Node
		with   cluster.Config
		status int
		says   string
		err    error
	}{
		"the secret":                  {secured, cluster.Config{Secrets: one}, 200, "secured", nil},
		"another secret":              {secured, cluster.Config{Secrets: two}, 0, "", cluster.ErrSecret},
		"no secret here":              {secured, cluster.Config{}, 401, "has a secret", nil},
		"no secret":                   {plain, cluster.Config{}, 200, "plain", nil},
		"no secret there":             {plain, cluster.Config{Secrets: one}, 0, "", cluster.ErrSecret},
		"a node that does not answer": {mute, cluster.Config{Secrets: one}, 0, "", cluster.ErrVersion},
		"a secret that is too short":  {secured, cluster.Config{Secrets: cluster.NewSecrets("short")}, 0, "", nil},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			status, said, err := askAdmin(t, c.to.Self().Addr, c.with)
			if status != c.status || !strings.Contains(said, c.says) || c.status == 0 && err == nil || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("status %d, %q, %v", status, said, err)
			}
		})
	}
}

// TestAdminIsNoNode: who looks at a node does not become a member, and is none of
// the strangers when it has shown the secret.
func TestAdminIsNoNode(t *testing.T) {
	t.Parallel()
	const places = 64
	var answering atomic.Int32
	c := cluster.Config{Secrets: cluster.NewSecrets(secret), Admin: func(*cluster.Node) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			answering.Add(1)
			<-r.Context().Done() // it holds its place
		})
	}}
	n, _ := join(t, c)
	for range places + 16 { // more than there are places for strangers, too
		conn, err := cluster.DialAdmin(t.Context(), n.Self().Addr, c)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: n\r\n\r\n")
	}
	eventually(t, "all places are taken", func() bool { return answering.Load() == places })
	if status, _, err := askAdmin(t, n.Self().Addr, c); status != http.StatusServiceUnavailable {
		t.Errorf("with all places taken: status %d, %v", status, err)
	}
	if s := n.Stats(); len(n.Members()) != 1 || s.Crowded != 0 {
		t.Errorf("members %v, %+v", n.Members(), s)
	}
	other, _ := join(t, cluster.Config{Secrets: c.Secrets}, n.Self().Addr)
	eventually(t, "a node gets in beside the streams", func() bool { return linked(other) == 1 })
}

// TestAdminRefusesBrowsers: what a page in a browser may send to a port of the
// loopback is no admin stream.
func TestAdminRefusesBrowsers(t *testing.T) {
	t.Parallel()
	n, _ := join(t, cluster.Config{Admin: tellName})
	c, err := net.Dial("tcp", n.Self().Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST /name HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if b, _ := io.ReadAll(c); len(b) != 0 {
		t.Errorf("answered %q", b)
	}
}

// TestAdminEndsWithTheNode: a node that closes ends what it streams, and waits for it.
func TestAdminEndsWithTheNode(t *testing.T) {
	t.Parallel()
	began, ended := make(chan struct{}), make(chan struct{})
	c := cluster.Config{Admin: func(*cluster.Node) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(began)
			<-r.Context().Done()
			close(ended)
		})
	}}
	n, _ := join(t, c)
	go func() { _, _, _ = askAdmin(t, n.Self().Addr, c) }() // until the node closes
	<-began
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	default:
		t.Error("the node is closed and the handler runs")
	}
}

// TestAdminGuests: what is wrong with Config.Admin keeps no node from running.
func TestAdminGuests(t *testing.T) {
	t.Parallel()
	for what, admin := range map[string]func(*cluster.Node) http.Handler{
		"panic": func(*cluster.Node) http.Handler { panic("no") },
		"nil":   func(*cluster.Node) http.Handler { return nil },
		"handler": func(*cluster.Node) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no") })
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n, _ := join(t, cluster.Config{Admin: admin})
			if status, _, err := askAdmin(t, n.Self().Addr, cluster.Config{}); err == nil && status != http.StatusServiceUnavailable {
				t.Errorf("status %d", status)
			}
			if n.State() != cluster.StateAlone {
				t.Errorf("state %v", n.State())
			}
		})
	}
}
