package dashboard_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/dashboard"
	"github.com/runrig-go/runrig/discovery"
)

// alone is a node that is closed at the end of the test.
func alone(t *testing.T) *cluster.Node {
	t.Helper()
	n, err := cluster.Join(t.Context(), bus.New(bus.WithLogger(quiet)), cluster.Config{Name: "a", Bind: "127.0.0.1:0", Discovery: discovery.Static(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// request is one of this host's browser.
func request(method, path string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader("{}"))
	r.RemoteAddr, r.Host = "127.0.0.1:50000", "localhost:8080"
	for _, f := range change {
		f(r)
	}
	return r
}

func ask(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// TestHostOnly: without Authorize this host alone may look, by a name of its own and
// through no proxy, and others are told why not.
func TestHostOnly(t *testing.T) {
	t.Parallel()
	h := dashboard.New(alone(t), dashboard.Options{})
	for what, c := range map[string]struct {
		change func(*http.Request)
		admits bool
	}{
		"this host":           {func(*http.Request) {}, true},
		"IPv6":                {func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:4", "[::1]:8080" }, true},
		"IPv4 in IPv6":        {func(r *http.Request) { r.RemoteAddr = "[::ffff:127.0.0.1]:4" }, true},
		"without a port":      {func(r *http.Request) { r.Host = "127.0.0.1" }, true},
		"another host":        {func(r *http.Request) { r.RemoteAddr = "10.0.0.7:50000" }, false},
		"a foreign name":      {func(r *http.Request) { r.Host = "evil.example:8080" }, false},
		"a name that ends so": {func(r *http.Request) { r.Host = "localhost.evil.example" }, false},
		"no name":             {func(r *http.Request) { r.Host = "" }, false},
		"a proxy":             {header("X-Forwarded-For", "10.0.0.7"), false},
		"another proxy":       {header("Forwarded", "for=10.0.0.7"), false},
	} {
		for _, path := range []string{"/", "/setup", "/style.css", "/no"} {
			w := ask(h, request(http.MethodGet, path, c.change))
			if refused := w.Code == http.StatusForbidden; refused == c.admits {
				t.Errorf("%s: %s: status %d", what, path, w.Code)
			}
			if !c.admits && !strings.Contains(w.Body.String(), "no Authorize function") {
				t.Errorf("%s: %q says not why", what, w.Body)
			}
		}
	}
}

// TestAuthorize: it decides alone, and lets nobody in when it fails, panics or ends its
// goroutine; what its error says is not shown.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	n := alone(t)
	far := func(r *http.Request) { r.RemoteAddr, r.Host = "10.0.0.7:50000", "dash.example" }
	for what, c := range map[string]struct {
		f      func(*http.Request) error
		status int
	}{
		"admits":  {func(*http.Request) error { return nil }, http.StatusOK},
		"refuses": {func(*http.Request) error { return errors.New("internal detail") }, http.StatusForbidden},
		"panics":  {func(*http.Request) error { panic("internal detail") }, http.StatusForbidden},
		"ends":    {func(*http.Request) error { runtime.Goexit(); return nil }, http.StatusForbidden},
	} {
		h := dashboard.New(n, dashboard.Options{Authorize: c.f, Logger: quiet})
		for _, path := range []string{"/", "/setup", "/main.js"} {
			w := ask(h, request(http.MethodGet, path, far))
			if w.Code != c.status || strings.Contains(w.Body.String(), "internal detail") {
				t.Errorf("%s: %s: status %d, %q", what, path, w.Code, w.Body)
			}
		}
	}
}

// TestStatuses: what is wrong with a request gets its status, and nothing else.
func TestStatuses(t *testing.T) {
	t.Parallel()
	n := alone(t)
	looking, trying := dashboard.New(n, dashboard.Options{}), dashboard.New(n, dashboard.Options{Try: true})
	json := header("Content-Type", "application/json")
	for what, c := range map[string]struct {
		h      http.Handler
		r      *http.Request
		status int
	}{
		"no such path":           {looking, request(http.MethodGet, "/no"), http.StatusNotFound},
		"a folder":               {looking, request(http.MethodGet, "/uplot/"), http.StatusNotFound},
		"out of the folder":      {looking, request(http.MethodGet, "/../doc.go"), http.StatusNotFound},
		"a file that is no page": {looking, request(http.MethodGet, "/uplot/LICENSE"), http.StatusNotFound},
		"POST to the page":       {looking, request(http.MethodPost, "/", json), http.StatusMethodNotAllowed},
		"DELETE of a table":      {looking, request(http.MethodDelete, "/links"), http.StatusMethodNotAllowed},
		"a table, nobody looks":  {looking, request(http.MethodGet, "/links"), http.StatusServiceUnavailable},
		"a bad figure":           {looking, request(http.MethodGet, "/links?most=x"), http.StatusBadRequest},
		"trying without Try":     {looking, request(http.MethodPost, "/call", json), http.StatusNotFound},
		"GET of a call":          {trying, request(http.MethodGet, "/call"), http.StatusMethodNotAllowed},
		"another origin":         {trying, request(http.MethodPost, "/call", json, header("Origin", "http://evil.example")), http.StatusForbidden},
		"another port":           {trying, request(http.MethodPost, "/call", json, header("Origin", "http://localhost:1")), http.StatusForbidden},
		"another site":           {trying, request(http.MethodPost, "/call", json, header("Sec-Fetch-Site", "cross-site")), http.StatusForbidden},
		"another host's page":    {trying, request(http.MethodPost, "/watch", json, header("Sec-Fetch-Site", "same-site")), http.StatusForbidden},
		"of no page":             {trying, request(http.MethodPost, "/call", json, header("Sec-Fetch-Site", "none")), http.StatusForbidden},
		"a form":                 {trying, request(http.MethodPost, "/call", header("Content-Type", "text/plain")), http.StatusUnsupportedMediaType},
		"no verb":                {trying, request(http.MethodPost, "/call", json), http.StatusBadRequest},
		"its own page":           {trying, request(http.MethodPost, "/call", json, header("Sec-Fetch-Site", "same-origin")), http.StatusBadRequest},
	} {
		w := ask(c.h, c.r)
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d", what, w.Code, c.status)
		}
		if c.status != http.StatusBadRequest && strings.TrimSpace(w.Body.String()) != http.StatusText(c.status) {
			t.Errorf("%s: answer %q", what, w.Body)
		}
		if w.Header().Get("Content-Security-Policy") == "" || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s: headers %v", what, w.Header())
		}
	}
}

// TestMounted: below any path, with the path cut off or not.
func TestMounted(t *testing.T) {
	t.Parallel()
	h := dashboard.New(alone(t), dashboard.Options{})
	for what, c := range map[string]struct {
		pattern string
		h       http.Handler
		at      string
	}{
		"at the root":       {"/", h, "/"},
		"below a path":      {"/debug/runrig/", h, "/debug/runrig/"},
		"cut off":           {"/debug/runrig/", http.StripPrefix("/debug/runrig", h), "/debug/runrig/"},
		"with a host":       {"GET localhost/x/", h, "/x/"},
		"with a wildcard":   {"/x/{rest...}", h, "/x/"},
		"a path that is so": {"/setup/", h, "/setup/"},
	} {
		mux := http.NewServeMux()
		mux.Handle(c.pattern, c.h)
		r := func(path string) *http.Request {
			return request(http.MethodGet, c.at+path, func(r *http.Request) { r.Host = "localhost" })
		}
		if w := ask(mux, r("")); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "<title>runrig") {
			t.Errorf("%s: the page: status %d", what, w.Code)
		}
		if w := ask(mux, r("setup")); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "host_only") {
			t.Errorf("%s: setup: status %d", what, w.Code)
		}
		if w := ask(mux, r("no/setup")); w.Code != http.StatusNotFound {
			t.Errorf("%s: a path below: status %d", what, w.Code)
		}
	}
	w := ask(http.StripPrefix("/dash", h), request(http.MethodGet, "/dash?x=1"))
	if w.Code != http.StatusMovedPermanently || w.Header().Get("Location") != "/dash/" {
		t.Errorf("without the slash: status %d to %q", w.Code, w.Header().Get("Location"))
	}
}

// TestAssets: the page refers to nothing that is not there, or is elsewhere, has no
// script or style of its own, and is small over the wire.
func TestAssets(t *testing.T) {
	t.Parallel()
	h := dashboard.New(alone(t), dashboard.Options{})
	page := ask(h, request(http.MethodGet, "/")).Body.String()
	for _, inline := range []string{"<style", " style=", "javascript:", " onclick", " onload", "http://", "https://"} {
		if strings.Contains(page, inline) {
			t.Errorf("the page has %q", inline)
		}
	}
	if regexp.MustCompile(`<script[^>]*>[^<]`).MatchString(page) {
		t.Error("the page has a script of its own")
	}
	wanted, done := []string{""}, map[string]bool{}
	refers := regexp.MustCompile(`(?: src=| href=|from )"(\./)?([a-zA-Z/.]+\.(?:js|css|svg))"`)
	bytes := 0
	for len(wanted) > 0 {
		path := wanted[0]
		wanted = wanted[1:]
		if done[path] {
			continue
		}
		done[path] = true
		w := ask(h, request(http.MethodGet, "/"+path))
		if w.Code != http.StatusOK {
			t.Errorf("%s: status %d", path, w.Code)
		}
		for _, m := range refers.FindAllStringSubmatch(w.Body.String(), -1) {
			wanted = append(wanted, m[2])
		}
		packed := ask(h, request(http.MethodGet, "/"+path, header("Accept-Encoding", "gzip")))
		bytes += packed.Body.Len() + 600 // headers
		again := ask(h, request(http.MethodGet, "/"+path, header("If-None-Match", w.Header().Get("ETag"))))
		if again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s: asked again: status %d", path, again.Code)
		}
	}
	t.Logf("%d files, %d bytes over the wire", len(done), bytes)
	if bytes > 150_000 || len(done) < 10 {
		t.Errorf("%d files have %d bytes over the wire; wanted are at most 150,000", len(done), bytes)
	}
}

// TestVendored: uPlot is as the registry has it.
func TestVendored(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile("page/uplot/VENDORED")
	if err != nil {
		t.Fatal(err)
	}
	sums := regexp.MustCompile(`(?m)^([0-9a-f]{64})  (\S+)$`).FindAllStringSubmatch(string(list), -1)
	if len(sums) != 2 {
		t.Fatalf("VENDORED has %d sums", len(sums))
	}
	for _, s := range sums {
		if got := sumOf(t, "page/uplot/"+s[2]); got != s[1] {
			t.Errorf("%s has the sum %s, not %s", s[2], got, s[1])
		}
	}
}

func sumOf(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(body))
}
