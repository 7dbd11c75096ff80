package bus

import (
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// What waits in a link grows older: in the buffers of its sender, in the network,
// and in the socket of a receiver that is stopped. So that no deadline is put off by
// that, time left is reckoned by the sender's clock (rule 20). TIME says what that shows, in
// order with the frames behind it, whose time left is from then on; and the receiver
// knows how far the two clocks are apart.
//
// That is at most the least difference that it has seen between a time that was
// said and when it was read, as those were on their way for some time. So a deadline
// comes too late by the shortest way over the link, and never too early. Clocks also
// drift, and stand still in a machine that is suspended: a PONG shows it, as it says
// an older time than the PING's that it answers.

const (
	timeEvery  = 100 * time.Millisecond // how old a TIME may be before another is said
	clockDrift = 2000                   // two clocks come apart by no more than 1 in so many
)

// timeSaid is what a link has told of this node's clock. It is guarded by writer.mu.
type timeSaid struct {
	at    int64
	swaps uint64 // of the outbox, and one, when it was looked at last
}

// leftLocked (rule 20) returns the time left until a deadline, as a frame tells it that is
// appended to buf now.
func (w *writer) leftLocked(deadline int64) uint64 {
	if said := &w.said; said.swaps != w.swaps+1 { // once for what is written together
		said.swaps = w.swaps + 1
		if now := w.clk.now(); said.at == 0 || now-said.at >= int64(timeEvery) {
			h := frame.Head{frame.FClock: clockOf(now)}
			w.buf = frame.Append(w.buf, frame.Time, &h, nil, nil, 0)
			said.at = int64(h[frame.FClock]) * 1e3
		}
	}
	return wholeMs(deadline - w.said.at)
}

// clockOf returns a time as it goes over a link: µs, rounded down, and not 0.
func clockOf(now int64) uint64 { return uint64(max(1, now/1e3)) }

// wholeMs returns a time left as it goes over a link: rounded up, so that the
// handler's end is not before the requester's.
func wholeMs(left int64) uint64 { return uint64(max(1, (left+1e6-1)/1e6)) }

// peerTime is what a link's reader knows of the peer's clock.
type peerTime struct {
	said  int64 // by the last TIME; 0: none has come
	apart int64 // what this node's clock shows more than the peer's, at most
	at    int64 // when that was reckoned; 0: never
}

// heard (rule 20) takes over what the peer's clock showed, as it was read now, and what this
// node's had shown before that: 0 if it is not known.
func (p *peerTime) heard(now int64, clock, before uint64) (peer int64) {
	peer = timeFrom(clock)
	seen := now - peer
	apart := seen
	if p.at != 0 {
		apart = min(seen, p.apart+(now-p.at)/clockDrift)
	}
	if before != 0 && apart < timeFrom(before)-peer { // it has stood still
		apart = seen
	}
	p.apart, p.at = apart, now
	return peer
}

// timeFrom returns a time that came over a link.
func timeFrom(clock uint64) int64 { return int64(min(clock, 1<<50)) * 1e3 }

// deadline returns that of a frame that was read now.
func (p *peerTime) deadline(f *frame.Frame, now int64) int64 {
	if f.Due != 0 {
		return f.Due
	}
	if p.said != 0 {
		now = p.said + p.apart
	}
	return now + timeLeft(f)
}

func (r *receiver) gotPing(f *frame.Frame) {
	if clock := f.Clock(); clock != 0 {
		r.times.heard(r.now, clock, 0)
	}
	r.pong(f.Clock())
}

func (r *receiver) gotPong(f *frame.Frame) {
	if clock := f.Clock(); clock != 0 {
		r.times.heard(r.now, clock, f.Heard())
	}
	if said := f.Heard(); said != 0 {
		r.roundTrip.Store(max(1, r.now-timeFrom(said)))
	}
}

// gotTime notes from when on the time left is that frames behind it say.
func (r *receiver) gotTime(f *frame.Frame) {
	r.times.said = r.times.heard(r.now, f.Clock(), 0)
	r.timed.Store(true)
}
