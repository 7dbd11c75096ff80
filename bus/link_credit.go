package bus

import (
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// payDelay is how long settled messages may go untold (rule 12).
const payDelay = 20 * time.Millisecond

// settle (rule 12) notes that a message was handled, or will not be. It reports whether
// it left a frame in the link's buffer.
func (in *inbound) settle(m *Message) bool {
	delta := 1<<owedBits | uint64(m.cost)
	owed := in.owed.Add(delta)
	switch {
	case int64(owed&(1<<owedBits-1)) >= in.window.Load()/2 || in.of.eager.Load():
		in.of.dues.pay(in)
		return true
	case owed == delta:
		in.of.dues.payLater(in)
	}
	return false
}

// dues are the inbounds of a link with settled messages that the peer has yet to be told
// of. They are guarded by writer.mu.
type dues struct {
	*inbounds
	owing []*inbound
	timer *time.Timer // tells it; nil: nothing was owed yet
}

// add lists an inbound, to be paid soon.
func (d *dues) add(in *inbound) {
	in.listed = true
	if d.owing = append(d.owing, in); len(d.owing) > 1 {
		return
	}
	if d.timer == nil {
		d.timer = time.AfterFunc(payDelay, d.payAll)
	} else {
		d.timer.Reset(payDelay)
	}
}

// end forgets all.
func (d *dues) end() {
	d.owing = nil
	if d.timer != nil {
		d.timer.Stop()
	}
}

// payLater (rule 12) has the credit that in owes told soon.
func (d *dues) payLater(in *inbound) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !in.listed && d.err == nil {
		d.add(in)
	}
}

// payAll tells all that is settled.
func (d *dues) payAll() {
	d.mu.Lock()
	free := d.payAllLocked(nil)
	d.mu.Unlock()
	d.soon()
	d.owner.unpin(free...)
	d.leave.recheck()
}

// payAllLocked (rule 12) is payAll without what is to be done once the lock is free: it
// appends to free the consumers with which the link has nothing more to do.
func (d *dues) payAllLocked(free []*Consumer) []*Consumer {
	for _, in := range d.owing {
		in.listed = false
		free = d.payLocked(in, free)
	}
	clear(d.owing)
	d.owing = d.owing[:0]
	return free
}

// pay tells the credit that in owes.
func (d *dues) pay(in *inbound) {
	d.mu.Lock()
	free := d.payLocked(in, nil)
	d.mu.Unlock()
	d.owner.unpin(free...)
	d.leave.recheck()
}

// payLocked (rule 2) appends the credit of in, and in's consumer to free if that was the
// last that this link had to do with it.
func (d *dues) payLocked(in *inbound, free []*Consumer) []*Consumer {
	owed := in.owed.Swap(0)
	if owed == 0 || d.err != nil {
		return free
	}
	n, bytes := owed>>owedBits, owed&(1<<owedBits-1)
	h := frame.Head{frame.FRoute: uint64(in.consumer.num), frame.FBytes: bytes, frame.FMessages: n}
	if in.shrinkLocked(int64(bytes)) {
		in.resized++
		h[frame.FWindow] = uint64(in.window.Load())
	}
	d.frameLocked(frame.Credit, &h)
	in.settled += int64(n)
	in.returned += int64(bytes)
	d.unsettled.Add(-int64(n))
	return d.freeLocked(in, free)
}

// gotCredit books what the peer's consumer has settled.
func (p *peerRoutes) gotCredit(f *frame.Frame) error {
	rt := p.get(f.Route())
	if rt == nil {
		return fmt.Errorf("%w: credit for route %d, which is not there", frame.ErrMalformed, f.Route())
	}
	if w := f.Window(); w > maxWindow {
		return fmt.Errorf("%w: window of %d bytes for route %d", frame.ErrMalformed, w, rt.num)
	}
	if err := p.settled(rt, f.Bytes(), f.Messages(), f.Window()); err != nil {
		return err
	}
	p.stats.add(countSettled, f.Messages())
	rt.home.grant()
	p.leave.recheck()
	return nil
}

// settled takes messages back into a route's balance, and takes over its new
// window unless that is 0: in one step, as the window may shrink by what comes
// back.
func (p *peerRoutes) settled(rt *route, bytes, messages, window uint64) error {
	if err := p.owes(rt, bytes, messages); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if window > 0 {
		p.windows.resizeLocked(rt, int64(window))
	}
	rt.settle(int64(bytes), int64(messages))
	p.forgetLocked(rt)
	p.outside -= int64(messages)
	return nil
}

// owes checks (rule 18) that so many bytes and messages are under way on a route. A large
// message counts only when it is wholly written.
func (p *peerRoutes) owes(rt *route, bytes, messages uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	sent, used := rt.unsettled, rt.used
	if rt.bulks > 0 {
		sent, used = p.bulks.less(rt, sent, used)
	}
	if messages > uint64(sent) || bytes > uint64(used) {
		return fmt.Errorf("%w: %d messages of %d bytes settled on route %d, where %d of %d are under way", frame.ErrMalformed, messages, bytes, rt.num, sent, used)
	}
	return nil
}
