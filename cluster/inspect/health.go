package inspect

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster"
)

// Livez answers whether the process should go on: with 200 while the node runs, leaves
// or has left, and 503 when it has failed, after which only a new process can join
// (cluster.ErrEnded). It never fails because of others. A liveness check asks it.
func Livez(n *cluster.Node) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var r report
		r.add("node", n.Err())
		r.write(w)
	})
}

// A Check is something of the program's own that it needs to serve.
type Check struct {
	Name  string
	Ready func(ctx context.Context) error // why not; it should heed ctx, which ends after a second
}

// Readyz answers whether the node is fit to serve: with 200, or with 503 and the
// reasons. It is not before the node has found others, or that there are none, not any
// more when the node begins to leave, and not while a check fails; it stays so when
// others fail (cluster.Node.Serving). What is wrong but no reason to be taken out of
// service has a line, too. The readiness check of a load balancer asks it.
func Readyz(n *cluster.Node, checks ...Check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx, cancel := context.WithTimeout(req.Context(), time.Second)
		defer cancel()
		var r report
		r.add("node", serving(n))
		for _, c := range checks {
			r.add(c.Name, c.Ready(ctx))
		}
		for _, line := range lines(n.Trouble()) {
			fmt.Fprintf(&r.text, "[!] %s\n", line)
		}
		r.write(w)
	})
}

// serving says why a node is not fit to serve.
func serving(n *cluster.Node) error {
	switch {
	case n.Serving():
		return nil
	case n.Err() != nil:
		return n.Err()
	}
	return fmt.Errorf("the node is %v", n.State())
}

// A report is the answer of a health check: a line for each thing that was looked at.
type report struct {
	text strings.Builder
	bad  bool
}

func (r *report) add(what string, err error) {
	if err == nil {
		fmt.Fprintf(&r.text, "[+] %s ok\n", what)
		return
	}
	r.bad = true
	fmt.Fprintf(&r.text, "[-] %s: %s\n", what, strings.ReplaceAll(text(err), "\n", "; "))
}

func (r *report) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.bad {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = fmt.Fprint(w, r.text.String())
}
