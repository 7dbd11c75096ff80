package inspect_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/cluster/inspect"
)

// get returns the status and text of a handler.
func get(h http.Handler) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w.Code, w.Body.String()
}

// TestHealth: a node is ready when it serves and the program's checks pass, says what is
// wrong beside, and lives until it fails.
func TestHealth(t *testing.T) {
	clusterOf(t, 3, func(t *testing.T, c *clustertest.Cluster) {
		n := c.Node(0).Node
		var wrong error
		ready := inspect.Readyz(n, inspect.Check{Name: "store", Ready: func(ctx context.Context) error {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("a check has no deadline")
			}
			return wrong
		}})
		want := func(what string, h http.Handler, status int, says ...string) {
			t.Helper()
			got, text := get(h)
			for _, s := range says {
				if !strings.Contains(text, s) {
					t.Errorf("%s: it does not say %q: %q", what, s, text)
				}
			}
			if got != status {
				t.Errorf("%s: status %d, %q", what, got, text)
			}
		}
		want("all is well", ready, 200, "[+] node ok\n", "[+] store ok\n")
		wrong = errors.New("no\nstore")
		want("a check fails", ready, 503, "[+] node ok\n", "[-] store: no; store\n")
		wrong = nil
		c.Silence(1)
		c.Silence(2)
		time.Sleep(10 * time.Second)
		want("the others are gone", ready, 200, "[+] node ok\n", "[!] ")
		want("it lives", inspect.Livez(n), 200, "[+] node ok\n")
		c.Heal()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		want("it has left", ready, 503, "[-] node: the node is left\n")
		want("it has left", inspect.Livez(n), 200)
	})
}
