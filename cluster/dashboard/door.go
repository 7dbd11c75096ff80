package dashboard

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/runrig-go/runrig/cluster/internal/guard"
)

// A door lets in who may look.
type door struct {
	authorize func(*http.Request) error
	log       *slog.Logger
}

// hostOnly is what others are told where nobody is authorized.
const hostOnly = "this dashboard has no Authorize function, so it serves its own host only, and no proxy (see dashboard.Options)"

// admit reports whether a request may go on. It has answered those that may not.
func (d *door) admit(w http.ResponseWriter, r *http.Request) bool {
	if d.authorize == nil {
		if !ofThisHost(r) {
			http.Error(w, hostOnly, http.StatusForbidden)
			return false
		}
		return true
	}
	err := guard.Call("Options.Authorize", func() error { return d.authorize(r) })
	if err == nil {
		return true
	}
	if stack := guard.Stack(err); stack != nil {
		d.log.Error("dashboard cannot authorize", append(stack, "err", err)...)
	}
	fail(w, http.StatusForbidden)
	return false
}

// ofThisHost reports whether a request is of this host: its connection, and the name by
// which it was made, which is another where a foreign name was pointed at the loopback.
// A proxy on this host passes on requests of others.
func ofThisHost(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	return isLoopback(r.RemoteAddr) && isLoopback(r.Host)
}

func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = strings.Trim(hostPort, "[]")
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// sameOrigin reports whether a request was made by a page of the same origin, or by
// no browser.
func sameOrigin(r *http.Request) bool {
	if r.Header.Get("Sec-Fetch-Site") == "none" { // by hand, of which no POST can be
		return false
	}
	return http.NewCrossOriginProtection().Check(r) == nil
}

// policy is what the page may load and do, and who may show it in a frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// protect sets the headers that all answers have.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}
