package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// A symptom is a line of the doctor's.
type symptom struct {
	OK   bool   `json:"ok"`
	What string `json:"what"`
	Text string `json:"text"`
}

// A chart is what the doctor has looked at.
type chart struct{ lines []symptom }

func (d *chart) ok(what, format string, args ...any) {
	d.lines = append(d.lines, symptom{true, what, fmt.Sprintf(format, args...)})
}

func (d *chart) fail(what, format string, args ...any) {
	d.lines = append(d.lines, symptom{false, what, fmt.Sprintf(format, args...)})
}

// errSick is the error of an examination that found something.
var errSick = errors.New("something is wrong; the lines that begin with FAIL say what")

// doctor looks at what keeps nodes from each other: the secret, the ports, the clocks,
// discovery, and what the nodes say themselves.
func doctor(ctx context.Context, c *call) error {
	var d chart
	c.doctorECS(ctx, &d)
	if c.doctorSecret(&d) {
		c.doctorCluster(ctx, &d)
	}
	if c.json {
		if err := c.document(d.lines); err != nil {
			return err
		}
	}
	sick := false
	for _, s := range d.lines {
		mark := c.style.paint(good, "ok  ")
		if !s.OK {
			sick, mark = true, c.style.paint(bad, "FAIL")
		}
		if !c.json {
			fmt.Fprintf(c.out, "%s  %-12s  %s\n", mark, show(s.What), show(s.Text))
		}
	}
	if sick {
		return errSick
	}
	return nil
}

func (c *call) doctorSecret(d *chart) bool {
	secrets, err := c.secrets()
	switch {
	case err != nil:
		d.fail("secret", "%v", err)
		return false
	case secrets.String() == "[no secrets]":
		d.ok("secret", "none is given: only a node of this host that has none answers")
	default:
		d.ok("secret", "one is given")
	}
	return true
}

// doctorCluster asks the node.
func (c *call) doctorCluster(ctx context.Context, d *chart) {
	client, err := c.attach(ctx)
	if err != nil {
		d.fail("node", "%v", err)
		return
	}
	defer client.Close()
	s, err := client.Cluster(ctx, inspect.Query{Addresses: -1, Verticles: -1})
	if err != nil {
		d.fail("node", "%v", err)
		return
	}
	d.node(&s)
	pings, err := client.Ping(ctx)
	if err != nil {
		d.fail("network", "%v", err)
	}
	d.network(pings)
	d.clocks(&s)
	d.trouble(&s)
}

func (d *chart) node(s *inspect.Cluster) {
	for i := range s.Nodes {
		n := &s.Nodes[i].Self
		if n.ID != s.Asker {
			continue
		}
		text := fmt.Sprintf("%s at %s, bound to %s, is %s, in cluster %q", n.ID, n.Address, n.Bound, n.State, n.Cluster)
		if n.Serving {
			d.ok("node", "%s", text)
		} else {
			d.fail("node", "%s, and not fit to serve", text)
		}
		if !n.Secured && !strings.HasPrefix(n.Bound, "127.") && !strings.HasPrefix(n.Bound, "[::1]") {
			d.fail("secret", "the node has none, and whoever reaches its port can do anything to the cluster: set Config.Secrets")
		}
	}
}

// network says which members messages (TCP) and gossip (UDP) reach. A packet and its
// answer have gone both ways.
func (d *chart) network(pings []inspect.Ping) {
	const open = "open the port, tcp and udp, both ways: in the security group from itself"
	for _, p := range pings {
		switch {
		case p.Status != "alive":
			d.ok(p.Name, "at %s: %s; a member that is not alive is not looked at", p.Address, p.Status)
		case !p.Linked && p.Packet == nil:
			d.fail(p.Name, "at %s: neither TCP (a link) nor UDP (gossip) passes: %s (%s)", p.Address, open, p.Error)
		case !p.Linked:
			d.fail(p.Name, "at %s: UDP (gossip) passes, TCP (a link) does not: %s", p.Address, open)
		case p.Packet == nil:
			d.fail(p.Name, "at %s: TCP (a link) passes, UDP (gossip) does not: %s (%s)", p.Address, open, p.Error)
		default:
			d.ok(p.Name, "at %s: TCP (a link) and UDP (gossip) pass; %s there and back", p.Address, seconds(*p.Packet))
		}
	}
}

// maxSkew is how far clocks may differ before that is told: the gossip lane drops what
// seems to be much older than a node.
const maxSkew = 5 * time.Second

// clocks compares those of the nodes. Each was read while the question was under way.
func (d *chart) clocks(s *inspect.Cluster) {
	worst := time.Duration(0)
	for i := range s.Nodes {
		n := &s.Nodes[i]
		skew := n.Time.Sub(s.Time)
		if took := time.Duration(s.Took * float64(time.Second)); skew > 0 {
			skew = max(0, skew-took)
		}
		if worst = max(worst, skew.Abs()); skew.Abs() > maxSkew {
			d.fail("clock", "that of %s differs by %s: set it (NTP)", n.Self.ID, seconds(skew.Abs().Seconds()))
		}
	}
	if worst <= maxSkew {
		d.ok("clock", "those of %d nodes agree", len(s.Nodes))
	}
}

// trouble has what the nodes say is wrong, discovery too, and who does not answer.
func (d *chart) trouble(s *inspect.Cluster) {
	for _, m := range s.Missing {
		d.fail(m.Name, "does not answer: %s", m.Reason)
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		for _, t := range n.Self.Trouble {
			d.fail(n.Self.Name, "%s", t)
		}
		if n.Network.Packetless > 0 {
			d.fail(n.Self.Name, "%d times a member answered over TCP after it had not over UDP: is the port open for udp?", n.Network.Packetless)
		}
	}
}
