package rehearsal

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

// A health check that is under way when the checks end has made its task send a
// greeting, which must be known to count.
func TestLastHealthCheckCounts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var at place
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel() // the checks end
		select {
		case <-r.Context().Done(): // cut short
		case <-time.After(50 * time.Millisecond):
		}
		_ = json.NewEncoder(w).Encode(health{IP: at.name(), Sent: 6})
	}))
	ap := netip.MustParseAddrPort(server.Listener.Addr().String())
	at = place{ip: ap.Addr(), node: nodePort, http: int(ap.Port())}
	server.Start()
	defer server.Close()
	var sent uint64
	(&task{place: at}).watch(ctx, time.Hour, func(h health) { sent = h.Sent }, func(err error) { t.Error(err) })
	if sent != 6 {
		t.Errorf("%d greetings are known, want the last one, number 6", sent)
	}
}
