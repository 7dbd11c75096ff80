package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/wire"
)

// The protocol versions that this node speaks.
const (
	minVersion = 1
	maxVersion = 1
)

// judge (H2, H7) says what a HELLO is worth before anything is known of its node: OK, or
// what it is refused for. A HELLO without a count is only a question, which is
// always answered with a refusal.
func judge(own, hello *wire.Greeting) wire.Verdict {
	switch {
	case hello.Cluster != own.Cluster:
		return wire.Cluster
	case min(hello.MaxVersion, own.MaxVersion) < max(hello.MinVersion, own.MinVersion):
		return wire.Version
	case hello.Boot == own.Boot:
		return wire.Self
	case hello.Attempt == 0, hello.Target != 0 && hello.Target != own.Boot:
		return wire.Stale
	}
	return wire.OK
}

// wellFormed says what is wrong with what a HELLO or WELCOME tells of its node.
func wellFormed(g *wire.Greeting) error {
	if g.Boot == 0 || !nameRule.MatchString(g.Name) {
		return fmt.Errorf("%w: name %q, boot id %016x", wire.ErrFormat, g.Name, g.Boot)
	}
	ap, err := netip.ParseAddrPort(g.Addr)
	switch {
	case err != nil:
		return fmt.Errorf("%w: advertised address: %w", wire.ErrFormat, err)
	case len(g.Cluster) > maxClusterName:
		return fmt.Errorf("%w: a cluster's name of %d bytes", wire.ErrFormat, len(g.Cluster))
	case ap.Port() == 0 || ap.Addr().IsUnspecified():
		return fmt.Errorf("%w: advertised address %v, which nobody can reach", wire.ErrFormat, ap)
	}
	return nil
}

// A crossing is what this node knows of its link and dials with one other boot,
// as far as the handshake's decisions depend on it.
type crossing struct {
	own, peer uint64 // boot ids
	learned   uint64 // the peer's count with which a link came up last; a refusal teaches nothing
	linked    bool
	dialling  bool
	replaced  bool // another boot has been heard from the peer's address
}

// hello (H2, H3) decides on a HELLO that judge found right. OK means that the link there
// is, if any, goes down before the new one comes up. open says whether this node
// still takes links.
func (c *crossing) hello(attempt uint64, open bool) wire.Verdict {
	switch {
	case attempt <= c.learned, c.replaced:
		return wire.Stale
	case c.linked:
		// A newer dial proves that the peer has lost the link we still hold.
	case c.dialling && c.own < c.peer:
		return wire.Duplicate
	case !open:
		return wire.Leaving
	}
	c.learned = attempt
	return wire.OK
}

// welcome (H3, H4) takes note of the answer OK to an own dial: the link there is, if any,
// goes down before the new one comes up. The answer is fresh proof that the peer
// lives at its address.
func (c *crossing) welcome(attempt uint64) {
	c.learned = max(c.learned, attempt)
	c.replaced = false
}

// ask (H1) sends a HELLO over a fresh stream and waits for the WELCOME, until ctx
// ends or dialTimeout. If it was refused the error is a RefusedError, and the
// WELCOME is returned too if it is of a node of this cluster. Otherwise the stream is
// returned.
func ask(ctx context.Context, p *port, addr netip.AddrPort, hello wire.Greeting) (net.Conn, *wire.Greeting, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := p.dial(ctx, alpnBus, addr)
	if err != nil {
		return nil, nil, err
	}
	unhook := context.AfterFunc(ctx, func() { _ = c.Close() })
	welcome, err := exchange(c, &hello)
	if !unhook() && err == nil {
		err = ctx.Err()
	}
	if err == nil && welcome.Verdict != wire.OK {
		err = refusal(welcome.Verdict, nameOf(welcome, addr), true, detail(&hello, welcome))
	}
	if misconfigured(err) {
		welcome = nil
	}
	if err != nil {
		_ = c.Close()
		return nil, welcome, typedTLS(err, addr.String())
	}
	_ = c.SetDeadline(time.Time{})
	return c, welcome, nil
}

func exchange(c net.Conn, hello *wire.Greeting) (*wire.Greeting, error) {
	_ = c.SetDeadline(time.Now().Add(dialTimeout))
	if err := wire.Write(c, hello); err != nil {
		return nil, err
	}
	welcome, err := wire.Read(c)
	switch {
	case err != nil:
	case welcome.Verdict == wire.Secret: // by a stranger; no more than this is believed
		return &wire.Greeting{Verdict: wire.Secret, MinVersion: welcome.MinVersion, MaxVersion: welcome.MaxVersion}, nil
	default:
		err = wellFormed(welcome)
	}
	if err != nil {
		return nil, fmt.Errorf("welcome: %w", err)
	}
	return welcome, nil
}

// nameOf names a node by what it told, else by its address.
func nameOf(g *wire.Greeting, addr fmt.Stringer) string {
	if g.Name == "" {
		return addr.String()
	}
	return fmt.Sprintf("%s-%016x at %s", g.Name, g.Boot, addr)
}

// detail says what differs between two greetings, for a human.
func detail(own, other *wire.Greeting) string {
	switch {
	case other.Cluster != own.Cluster && other.Cluster != "":
		return fmt.Sprintf("this node's cluster is %q, the other's %q", own.Cluster, other.Cluster)
	case other.MinVersion > own.MaxVersion, other.MaxVersion < own.MinVersion:
		return fmt.Sprintf("this node speaks versions %d to %d, the other %d to %d", own.MinVersion, own.MaxVersion, other.MinVersion, other.MaxVersion)
	}
	return ""
}

// peerOf is the bus's view of a node that greeted.
func peerOf(g *wire.Greeting) bus.Peer {
	return bus.Peer{Name: g.Name, Boot: g.Boot, Addr: g.Addr, Tags: g.Tags}
}
