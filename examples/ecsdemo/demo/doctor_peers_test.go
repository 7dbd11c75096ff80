package demo

import (
	"bytes"
	"strings"
	"testing"
)

// TestDoctorOnPeers has what cannot be had on loopback: a network that does not
// let all pass.
func TestDoctorOnPeers(t *testing.T) {
	t.Parallel()
	const addr = "127.0.0.1:1" // where nobody listens
	for name, c := range map[string]struct {
		peers []peerView
		want  string
	}{
		"all passes":           {[]peerView{{Addr: addr, Name: "b", Status: "alive", Linked: true}}, "ok    127.0.0.1:1   node b, alive: TCP"},
		"UDP does not":         {[]peerView{{Addr: addr, Linked: true, UDP: "no answer"}}, "FAIL  127.0.0.1:1   TCP passes, UDP does not: open the port for udp"},
		"TCP does not":         {[]peerView{{Addr: addr}}, "FAIL  127.0.0.1:1   TCP does not pass"},
		"not a member":         {[]peerView{{Addr: "127.0.0.2:1", Linked: true}}, "FAIL  127.0.0.1:1   TCP does not pass"},
		"an IP had by another": {[]peerView{{Addr: addr, Linked: true, Name: "b"}, {Addr: addr, Name: "a"}}, "ok    127.0.0.1:1   node b"},
	} {
		var out bytes.Buffer
		d := &doctor{ctx: t.Context(), out: &out}
		d.peer(addr, view{Peers: c.peers})
		if !strings.HasPrefix(out.String(), c.want) || (d.failed > 0) != strings.HasPrefix(c.want, "FAIL") {
			t.Errorf("%s: %q, want %q", name, out.String(), c.want)
		}
	}
}
