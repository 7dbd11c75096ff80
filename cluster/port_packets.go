package cluster

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// receive hands on the packets that are from nodes. What they hold is copied out
// of one scratch buffer.
func (p *port) receive() {
	defer p.wg.Done()
	scratch := make([]byte, 64<<10)
	for {
		n, from, err := p.udp.ReadFromUDPAddrPort(scratch)
		if p.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			pause(p.ctx, pauseLeast)
			continue
		}
		labeled, err := p.envelope.open(scratch[:n])
		if err != nil {
			p.badPacket(from, err)
			continue
		}
		packet := &memberlist.Packet{
			Buf:       labeled,
			From:      net.UDPAddrFromAddrPort(netip.AddrPortFrom(from.Addr().Unmap(), from.Port())),
			Timestamp: time.Now(),
		}
		select {
		case p.packets <- packet:
		case <-p.ctx.Done():
			return
		}
	}
}

// badPacket counts and logs a packet that was dropped.
func (p *port) badPacket(from netip.AddrPort, err error) {
	p.counts.badPackets.Add(1)
	if held, ok := p.packetLine.pass(); ok {
		p.log.Warn("dropped a packet", "address", from.String(), "err", err, "more", held)
	}
}
