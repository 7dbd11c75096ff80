package rehearsal

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// The ports of a task where it has an address of its own, as in ECS.
const (
	nodePort = 7946
	httpPort = 8080
)

// place is where a task listens.
type place struct {
	ip   netip.Addr
	node int // TCP and UDP
	http int
}

func (p place) nodeAddr() string { return hostPort(p.ip, p.node) }
func (p place) httpAddr() string { return hostPort(p.ip, p.http) }

// name is what the task calls itself in its lines: its IP, and the port too
// where other tasks have the same IP.
func (p place) name() string {
	if p.node != nodePort {
		return p.nodeAddr()
	}
	return p.ip.String()
}

// ecs describes the task at this place to the fake.
func (p place) ecs() ecstest.TaskConfig {
	c := ecstest.TaskConfig{
		Cluster: "rehearsal",
		Service: "ecsdemo",
		Address: p.ip.String(),
		Status:  "PENDING",
	}
	if p.node != nodePort {
		c.NetworkMode = "bridge"
		c.Ports = []ecstest.PortMapping{{ContainerPort: nodePort, HostPort: p.node}}
	}
	return c
}

func hostPort(ip netip.Addr, port int) string {
	return netip.AddrPortFrom(ip, uint16(port)).String()
}

// places gives each task a place that no task had before: the next of the
// loopback addresses with the usual ports or, where the system has only
// 127.0.0.1 (or something holds the port on all addresses), the next ports of
// that one.
//
// A place stays claimed, so that rehearsals at the same time do not meet: the
// port behind that of the node is this process's own.
type places struct {
	shared bool // all tasks have the same IP
	ip     netip.Addr
	node   int
	claims []net.Listener
}

const tries = 100 // places that may be taken by others before one is free

var localhost = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func newPlaces(shared bool) *places {
	p := &places{shared: shared, ip: localhost, node: nodePort}
	if shared {
		return p
	}
	probe := *p
	defer probe.close()
	_, err := probe.next()
	p.shared = err != nil
	return p
}

// next returns a free place and claims it. That a stranger does not take it
// before the task does is likely, not certain.
func (p *places) next() (place, error) {
	var last error
	for range tries {
		if p.shared {
			p.node += 3 // the node's port, the claim, the health check's
		} else {
			p.ip = p.ip.Next()
		}
		var at place
		if at, last = p.claim(); last == nil {
			return at, nil
		}
	}
	return place{}, fmt.Errorf("no free address for a task, %d tried: %w", tries, last)
}

func (p *places) claim() (place, error) {
	l, err := net.Listen("tcp", hostPort(p.ip, p.node+1))
	if err != nil {
		return place{}, err
	}
	at := place{p.ip, p.node, httpPort}
	if p.shared || free(at.httpAddr()) != nil {
		at.http = p.node + 2
	}
	for _, err := range []error{free(at.nodeAddr()), freeUDP(at.nodeAddr()), free(at.httpAddr())} {
		if err != nil {
			_ = l.Close()
			return place{}, err
		}
	}
	p.claims = append(p.claims, l)
	return at, nil
}

// close gives all claims up.
func (p *places) close() {
	for _, l := range p.claims {
		_ = l.Close()
	}
}

// free says why the address cannot be listened at now.
func free(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

func freeUDP(addr string) error {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	return c.Close()
}
