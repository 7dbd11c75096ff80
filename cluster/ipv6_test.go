package cluster_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/runrig-go/runrig/cluster"
)

// Nodes on hosts without IPv4 find their address and each other, by a route of
// IPv6 and on one link. It needs Linux and the right to make namespaces.
func TestIPv6(t *testing.T) {
	t.Parallel()
	if os.Getenv(insideEnv) != "" {
		t.Run("a route", testIPv6Route)
		t.Run("one link", testIPv6Link)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("it needs Linux's namespaces")
	}
	if err := tryRun("unshare -Urn ip link add near type veth peer name far"); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command("unshare", "-Urn", os.Args[0], "-test.run=^TestIPv6$", "-test.v")
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func testIPv6Route(t *testing.T) {
	for _, line := range []string{
		"ip link set lo up", "ip link add near type veth peer name far", "ip link set near up", "ip link set far up",
		"ip addr add fd00::1/64 dev near nodad", "ip -6 route add default dev near",
	} {
		mustRun(t, line)
	}
	secrets := cluster.NewSecrets(secret)
	a, _ := join(t, cluster.Config{Secrets: secrets, Bind: ":7946"})
	b, _ := join(t, cluster.Config{Secrets: secrets, Bind: "[::]:7947"}, a.Self().Addr)
	if got := a.Self().Addr; got != "[fd00::1]:7946" {
		t.Errorf("the node advertises %s", got)
	}
	eventually(t, "the nodes are linked", func() bool { return linked(b) == 1 })
}

func testIPv6Link(t *testing.T) {
	at := map[string]string{}
	eventually(t, "both ends of the link have an address that is ready", func() bool {
		for _, dev := range []string{"near", "far"} {
			if at[dev] = linkLocal(t, dev); at[dev] == "" {
				return false
			}
			l, err := net.Listen("tcp", at[dev])
			if err != nil {
				return false
			}
			_ = l.Close()
		}
		return true
	})
	secrets := cluster.NewSecrets(secret)
	a, _ := join(t, cluster.Config{Secrets: secrets, Bind: at["near"]})
	b, _ := join(t, cluster.Config{Secrets: secrets, Bind: at["far"]}, a.Self().Addr)
	eventually(t, "the nodes are linked", func() bool { return linked(a) == 1 && linked(b) == 1 })
}

// linkLocal returns the link-local address of a device with a port that is free
// there, "" if it has none, yet.
func linkLocal(t *testing.T, dev string) string {
	i, err := net.InterfaceByName(dev)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := i.Addrs()
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsLinkLocalUnicast() {
			return netip.AddrPortFrom(p.Addr().WithZone(dev), 7970).String()
		}
	}
	return ""
}
