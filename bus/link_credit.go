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
	delta := 1<<owedBits | uint64(m.charge)
	owed := in.owed.Add(delta)
	switch {
	case int64(owed&(1<<owedBits-1)) >= in.window.Load()/2 || in.link.eager.Load():
		in.link.pay(in)
		return true
	case owed == delta:
		in.link.payLater(in)
	}
	return false
}

// dues are the inbounds of a link with settled messages that the peer has yet to be told
// of. They are guarded by link.mu.
type dues struct {
	owing []*inbound
	timer *time.Timer // tells it; nil: nothing was owed yet
}

// add lists an inbound, to be paid soon by pay.
func (d *dues) add(in *inbound, pay func()) {
	in.listed = true
	if d.owing = append(d.owing, in); len(d.owing) > 1 {
		return
	}
	if d.timer == nil {
		d.timer = time.AfterFunc(payDelay, pay)
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
func (l *link) payLater(in *inbound) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !in.listed && l.err == nil {
		l.dues.add(in, l.payAll)
	}
}

// payAll tells all that is settled.
func (l *link) payAll() {
	l.mu.Lock()
	free := l.payAllLocked(nil)
	l.mu.Unlock()
	l.soon()
	l.owner.unpin(free...)
	l.leave.recheck()
}

// payAllLocked (rule 12) is payAll without what is to be done once the lock is free: it
// appends to free the consumers with which the link has nothing more to do.
func (l *link) payAllLocked(free []*Consumer) []*Consumer {
	for _, in := range l.dues.owing {
		in.listed = false
		free = l.payLocked(in, free)
	}
	clear(l.dues.owing)
	l.dues.owing = l.dues.owing[:0]
	return free
}

// pay tells the credit that in owes.
func (l *link) pay(in *inbound) {
	l.mu.Lock()
	free := l.payLocked(in, nil)
	l.mu.Unlock()
	l.owner.unpin(free...)
	l.leave.recheck()
}

// payLocked (rule 2) appends the credit of in, and in's consumer to free if that was the
// last that this link had to do with it.
func (l *link) payLocked(in *inbound, free []*Consumer) []*Consumer {
	owed := in.owed.Swap(0)
	if owed == 0 || l.err != nil {
		return free
	}
	n, bytes := owed>>owedBits, owed&(1<<owedBits-1)
	h := frame.Head{frame.FRoute: uint64(in.consumer.num), frame.FBytes: bytes, frame.FMessages: n}
	if l.shrinkLocked(in, int64(bytes)) {
		in.resized++
		h[frame.FWindow] = uint64(in.window.Load())
	}
	l.frameLocked(frame.Credit, &h)
	in.settled += int64(n)
	in.returned += int64(bytes)
	l.unsettledIn.Add(-int64(n))
	return l.freeLocked(in, free)
}

// gotCredit books what the peer's consumer has settled.
func (l *link) gotCredit(f *frame.Frame) error {
	rt := l.route(f.Route())
	if rt == nil {
		return fmt.Errorf("%w: credit for route %d, which is not there", frame.ErrMalformed, f.Route())
	}
	if w := f.Window(); w > maxWindow {
		return fmt.Errorf("%w: window of %d bytes for route %d", frame.ErrMalformed, w, rt.num)
	}
	if err := l.settled(rt, f.Bytes(), f.Messages(), f.Window()); err != nil {
		return err
	}
	l.stats.add(countSettled, f.Messages())
	rt.home.grant()
	l.leave.recheck()
	return nil
}

// settled takes messages back into a route's balance, and takes over its new
// window unless that is 0: in one step, as the window may shrink by what comes
// back.
func (l *link) settled(rt *route, bytes, messages, window uint64) error {
	if err := l.owes(rt, bytes, messages); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if window > 0 {
		l.resizeLocked(rt, int64(window))
	}
	rt.settle(int64(bytes), int64(messages))
	l.forgetLocked(rt)
	l.outside -= int64(messages)
	return nil
}

// owes checks (rule 18) that so many bytes and messages are under way on a route. A large
// message counts only when it is wholly written.
func (l *link) owes(rt *route, bytes, messages uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent, used := rt.unsettled, rt.used
	if rt.bulks > 0 {
		sent, used = l.bulks.less(rt, sent, used)
	}
	if messages > uint64(sent) || bytes > uint64(used) {
		return fmt.Errorf("%w: %d messages of %d bytes settled on route %d, where %d of %d are under way", frame.ErrMalformed, messages, bytes, rt.num, sent, used)
	}
	return nil
}
