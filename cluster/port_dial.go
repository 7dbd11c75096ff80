package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// dial opens a stream of the given protocol to addr, encrypted if there is a
// secret. It waits until ctx ends, or dialTimeout.
func (p *port) dial(ctx context.Context, protocol string, addr netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if p.bound.Addr().IsLoopback() && !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("this node listens on the loopback only, at %v, and reaches no other host: set Config.Secrets, or Config.Bind if it is set", p.bound)
	}
	c, err := p.network.Dial(ctx, p.bound.Addr(), p.place(addr))
	if err != nil {
		return nil, err
	}
	if p.tls != nil {
		s := secure(c, p.tls.forDial(protocol, addr.String()), tls.Client)
		if err := p.shake(ctx, s); err != nil {
			_ = c.Close()
			return nil, typedTLS(err, addr.String())
		}
		return s, nil
	}
	if protocol == alpnBus {
		_ = c.SetWriteDeadline(time.Now().Add(dialTimeout))
		if _, err := c.Write([]byte{busMagic}); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return c, nil
}
