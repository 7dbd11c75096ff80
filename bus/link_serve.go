package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// readOut is how long a link is read that takes nothing any more.
const readOut = time.Second

// serve speaks the protocol until the link ends.
func (c *core) serve(ctx context.Context, peer Peer, conn net.Conn, up func()) error {
	l := c.newLink(peer, conn, up)
	if err := c.addLink(l); err != nil {
		_ = conn.Close()
		return err
	}
	l.begin()
	stopSupersede := context.AfterFunc(ctx, l.supersede)
	endBeat := c.pulse.add(l)
	r := newReceiver(l)
	err := r.read()
	r.endBulks()
	stopSupersede()
	endBeat()
	err = l.ending(ctx, err)
	l.fail(err)
	<-l.finished
	c.removeLink(l, err)
	if errors.Is(err, errGoodbye) || errors.Is(err, ErrClosed) && l.parting.Load() {
		return nil
	}
	return err
}

var errGoodbye = errors.New("the peer has left")

// addLink (leaving 1) makes the link part of the bus. A bus that leaves tells
// the peer so first.
func (c *core) addLink(l *link) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leave.at(busGone) {
		return fmt.Errorf("%w: no link to %s", ErrClosed, l.peer.Name)
	}
	for o := range c.members.links {
		if o.peer.Boot == l.peer.Boot {
			return fmt.Errorf("bus: there is a link to %s already", l.peer)
		}
	}
	l.peer.Since = time.Now()
	c.members.links[l] = struct{}{}
	if c.leave.at(busLeaves) {
		l.mu.Lock()
		l.announcer.fill()
		l.leaveLocked(nil, nil) // nothing has come yet
		l.mu.Unlock()
		return nil
	}
	for _, cn := range c.consumers[1:] {
		if cn != nil && !cn.isClosed() {
			l.announcer.announce(cn)
		}
	}
	return nil
}

// linkUp notes that the peer's whole set is in.
func (c *core) linkUp(l *link) {
	l.mu.Lock()
	first := !l.known
	l.known = true
	l.routes.theirs.to(theirsUp)
	if first {
		c.events.note(PeerUp{l.peer})
	}
	l.mu.Unlock()
	if !first {
		return
	}
	c.mu.Lock()
	if e := c.members.expected[l.peer.Boot]; e != nil {
		e.until = 0
	}
	c.mu.Unlock()
	c.log.Debug("linked", "peer", l.peer.String(), "addr", l.peer.Addr)
	if l.ups != nil {
		l.ups()
	}
	c.members.linked.fire()
}

func (l *link) isUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.routes.theirs == theirsUp && l.err == nil
}

// ending (leaving 4) lets a link that has been read to its GOODBYE write what is left, and
// says why the link has ended.
func (l *link) ending(ctx context.Context, err error) error {
	l.mu.Lock()
	gone := l.inbounds.ours == oursGone
	if err == nil {
		l.bye = true
		l.token()
		l.wakeLocked()
	}
	if l.err != nil {
		err = l.err // why reading failed
	}
	l.mu.Unlock()
	switch {
	case err == nil:
		t := time.AfterFunc(readOut, func() { l.fail(errors.New("not read to its end after GOODBYE")) })
		defer t.Stop()
		<-l.finished
		_, _ = io.Copy(io.Discard, l.conn) // to its end, so that closing cuts nothing off
		if gone {
			return ErrClosed
		}
		return errGoodbye
	case gone:
		if !errors.Is(err, io.ErrUnexpectedEOF) { // which says that the peer has read all
			l.fail(err)
		}
		return ErrClosed
	case ctx.Err() != nil:
		return fmt.Errorf("bus: link to %s was superseded: %w", l.peer, context.Cause(ctx))
	}
	return fmt.Errorf("bus: link to %s broke: %w", l.peer, err)
}

// supersede makes the link take no more messages and read to its end.
func (l *link) supersede() {
	l.routes.dropAll(func() { l.replaced = true })
	_ = l.conn.SetReadDeadline(time.Now().Add(readOut))
}

// removeLink takes the link and all that hangs on it out (rule 2), in one step for
// senders that post. What came on it and waits is dropped: its sender has counted
// it as unknown. What is being handled goes on, without reply or credit.
func (c *core) removeLink(l *link, err error) {
	l.routes.dropAll(func() {})
	l.endHandovers()
	c.mu.Lock()
	delete(c.members.links, l)
	l.mu.Lock()
	if c.leave.at(busLeaves) {
		c.broken.note(l, c.clock.now())
	}
	l.ends.allLocked()
	asking := l.replies.dropLocked()
	l.inbounds.bounces.cutOffUnwrittenLocked()
	l.questions.forgetAllLocked()
	c.stats.add(countUnknown, uint64(l.routes.outside))
	c.stats.add(countSentAway, uint64(l.routes.sent))
	l.routes.outside, l.routes.sent = 0, 0
	requests := l.pend.byConsumer() // whose callers are told
	for _, rt := range l.routes.byNumber {
		if rt != nil {
			rt.lose(requests[rt.num])
		}
	}
	ins, blocked, freed := l.inbounds.byNumber, l.entrance.end(), l.inbounds.freed
	l.inbounds.byNumber, l.inbounds.freed = nil, nil
	l.inbounds.dues.end()
	wasUp := l.known
	l.mu.Unlock()
	for _, in := range ins {
		if in != nil {
			c.cutOff(in)
		}
	}
	c.mu.Unlock()
	c.unpin(freed...)
	l.pend.end(func(*call) error {
		return fmt.Errorf("%w to %s; the handler may have run", ErrLinkLost, l.peer)
	})
	for _, k := range asking {
		k.answer(answer{err: fmt.Errorf("%w to %s, before the question was written", ErrLinkLost, l.peer), in: &l.replies.origin})
	}
	l.pend.stop()
	close(l.down)
	for _, r := range blocked {
		r.grant()
	}
	c.rings.releaseKeys(l.routes.byNumber)
	c.members.linked.fire()
	c.leave.recheck()
	if wasUp {
		down := PeerDown{Peer: l.peer, Err: err}
		if errors.Is(err, errGoodbye) {
			down.Err = nil
		}
		c.events.note(down)
		c.log.Debug("link ended", "peer", l.peer.String(), "err", err)
	}
}

// cutOff drops what came on a link that has ended. The caller holds core.mu.
func (c *core) cutOff(in *inbound) {
	cn := in.consumer
	cn.mu.Lock()
	dropped := cn.box.take(func(m *Message) bool { return m.in == in.origin })
	cn.restIfIdleLocked()
	cn.mu.Unlock()
	if in.stage != inFreed {
		in.giveBack()
	}
	in.cutOff(len(dropped))
	in.cutOffHeld()
	if in.stage >= inRemoving && in.stage != inFreed {
		in.stage = inFreed
		if cn.pins--; cn.pins == 0 {
			c.forgetConsumer(cn)
		}
	}
}
