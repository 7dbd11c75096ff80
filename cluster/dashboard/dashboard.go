package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/cluster/internal/guard"
)

// Options say who may look, and whether they may do something. The zero value is for
// people on the same host, who look only.
type Options struct {
	// Authorize says whether a request may look: it is called for each, concurrently,
	// and an error or a panic refuses it with status 403. Its error is not shown. A
	// program that asks for a password does so in a handler around this one, and
	// returns nil here. Where Authorize is nil, requests of the same host alone are
	// served.
	Authorize func(*http.Request) error

	// Try lets who may look also send, publish and request, and hear what is published
	// to an address. The page marks it in red.
	Try bool

	// Logger is told of a panic of Authorize. The default is slog.Default().
	Logger *slog.Logger
}

// New returns the dashboard of the node's cluster. It may be mounted below any path
// that ends in a slash, with http.StripPrefix or without. It may be made before the
// others are there, and shows what it saw last when the node has closed.
func New(n *cluster.Node, o Options) http.Handler {
	return newHandler(&nodeSource{node: n, of: inspect.Of(n)}, o)
}

// Attach is [New] for a program that is no node, as "runrig ui" is: dial returns a
// client of some node. It is called when somebody looks, and again when that node does
// not answer any more; its error is shown until it succeeds. Each client is closed when
// nobody looks, or another has come.
func Attach(dial func(context.Context) (*inspect.Client, error), o Options) http.Handler {
	return newHandler(&clientSource{dial: dial}, o)
}

// A handler serves the page and what it asks for.
type handler struct {
	door
	tabs *sampler
	from source
	try  bool

	watches chan struct{} // a place for each

	gets map[string]http.HandlerFunc
	post map[string]http.HandlerFunc
}

func newHandler(from source, o Options) *handler {
	h := &handler{
		door: door{authorize: o.Authorize, log: guard.Logger(o.Logger)},
		tabs: newSampler(from), from: from, try: o.Try, watches: make(chan struct{}, maxWatches),
	}
	h.gets = map[string]http.HandlerFunc{
		"setup":     h.serveSetup,
		"stream":    h.tabs.serve,
		"addresses": list(h.tabs, (*view).addressRows),
		"address":   list(h.tabs, (*view).address),
		"links":     list(h.tabs, (*view).linkRows),
		"verticles": list(h.tabs, (*view).verticleRows),
		"node":      list(h.tabs, (*view).node),
	}
	if o.Try {
		h.post = map[string]http.HandlerFunc{"call": h.serveCall, "watch": h.serveWatch}
	}
	return h
}

// ServeHTTP answers who may look, and others with a status.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	if !h.admit(w, r) {
		return
	}
	path, mounted := below(r)
	if !mounted {
		http.Redirect(w, r, strings.SplitN(r.RequestURI, "?", 2)[0]+"/", http.StatusMovedPermanently)
		return
	}
	if serve := h.post[path]; serve != nil {
		h.servePost(w, r, serve)
		return
	}
	serve := h.gets[path]
	if serve == nil {
		serve = assets()[path]
	}
	switch {
	case serve == nil:
		fail(w, http.StatusNotFound)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, http.StatusMethodNotAllowed)
	default:
		serve(w, r)
	}
}

// servePost serves what does something: to the page alone.
func (h *handler) servePost(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		fail(w, http.StatusMethodNotAllowed)
	case !sameOrigin(r):
		fail(w, http.StatusForbidden)
	case r.Header.Get("Content-Type") != "application/json":
		fail(w, http.StatusUnsupportedMediaType)
	default:
		serve(w, r)
	}
}

// below returns the path below the one where the handler is mounted. It is not mounted
// where only the slash at the end is missing.
func below(r *http.Request) (path string, mounted bool) {
	if r.URL.Path == "" {
		return "", false
	}
	if i := strings.IndexByte(r.Pattern, '/'); i >= 0 { // of a ServeMux: [METHOD ][HOST]/[PATH]
		at, _, _ := strings.Cut(r.Pattern[i:], "{")
		if rest, ok := strings.CutPrefix(r.URL.Path, at); ok && strings.HasSuffix(at, "/") {
			return rest, true
		}
	}
	return strings.TrimPrefix(r.URL.Path, "/"), true
}

// fail answers with a status, and its text.
func fail(w http.ResponseWriter, status int) { http.Error(w, http.StatusText(status), status) }

// A setup is what does not change while the page is open.
type setup struct {
	Try      bool `json:"try"`
	HostOnly bool `json:"host_only"` // nobody is authorized, so that this host alone may look
}

func (h *handler) serveSetup(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, setup{Try: h.try, HostOnly: h.authorize == nil})
}

// A question is what a table of the page asks for.
type question struct {
	match, sort, name string
	most              int
	descending        bool
}

// Rows of a table: by default, and at most.
const (
	someRows = 100
	maxRows  = 5000
)

// list answers a question from the last sample.
func list[T any](s *sampler, of func(*view, question) (T, bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := r.URL.Query()
		q := question{match: v.Get("match"), sort: v.Get("sort"), name: v.Get("name"), most: someRows, descending: v.Get("up") == ""}
		if text := v.Get("most"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				fail(w, http.StatusBadRequest)
				return
			}
			q.most = min(n, maxRows)
		}
		seen := s.seen()
		if seen == nil {
			fail(w, http.StatusServiceUnavailable) // nobody looks
			return
		}
		answer, ok := of(seen, q)
		if !ok {
			fail(w, http.StatusNotFound)
			return
		}
		writeJSON(w, answer)
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // who asks may have gone
}

// maxCall bounds what the page may send, in bytes of JSON.
const maxCall = 1 << 20

// take reads the document of a request.
func take(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCall))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.Decode(new(json.RawMessage)) != io.EOF {
		err = fmt.Errorf("more than one document")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return err == nil
}
