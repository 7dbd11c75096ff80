package bus

import (
	"fmt"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// windows is what a link knows of the peer's routes whose windows have ever grown. Each
// windowKept this node, their sender, looks how much of a window was used since it last
// looked, and gives back what was not used, by REST (rule 11). The receiver could not take
// it back without revoking credit. Its fields are guarded by writer.mu.
type windows struct {
	*services
	*writer
	of     map[*route]*grownWindow
	tended int64 // when tend last looked at the windows
}

// grownWindow is what a link knows of a window that has grown.
type grownWindow struct {
	first   int64  // the window before it first grew
	resized uint64 // how often the peer has told another window
	sent    int64  // messages sent on the route in all, when tend last looked
}

// resizeLocked takes over the window of a route that the peer has told.
func (ws *windows) resizeLocked(rt *route, window int64) {
	w := ws.of[rt]
	if w == nil {
		if ws.of == nil {
			ws.of = map[*route]*grownWindow{}
		}
		w = &grownWindow{first: rt.window}
		ws.of[rt] = w
	}
	w.resized++
	rt.window = window
}

// tend gives back what was not needed of windows that have grown, if windowKept is over.
func (ws *windows) tend(now int64) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if now-ws.tended < int64(windowKept) || !ws.open() {
		return
	}
	ws.tended = now
	for rt, w := range ws.of {
		if rt.removed {
			delete(ws.of, rt)
			continue
		}
		sent := rt.settled + rt.unsettled
		if rt.window > w.first && !rt.needed {
			ws.restLocked(rt, w, sent == w.sent)
		}
		w.sent, rt.needed = sent, false
	}
	ws.wakeLocked()
}

// restLocked (rule 11) gives back three quarters of a window of which little was used, or, if
// it was idle, all that it has grown by.
func (ws *windows) restLocked(rt *route, w *grownWindow, idle bool) {
	if rt.window = max(w.first, rt.window/4); idle {
		rt.window = w.first
	}
	h := frame.Head{frame.FRoute: uint64(rt.num), frame.FResized: w.resized, frame.FWindow: uint64(rt.window)}
	ws.buf = frame.Append(ws.buf, frame.Rest, &h, nil, nil, 0)
}

// gotRest (rule 11) takes over the smaller window that the sender of a route keeps to from
// here on. If this node has told another window meanwhile, REST does not count: the sender
// will read that window, and keep to it.
func (ins *inbounds) gotRest(f *frame.Frame) error {
	ins.mu.Lock()
	defer ins.mu.Unlock()
	in := ins.atLocked(uint32(min(f.Route(), maxRoutes)))
	if in == nil || in.stage == inFreed || f.Resized() != uint64(in.resized) {
		return nil
	}
	w, was := int64(min(f.Window(), maxWindow)), in.window.Load()
	if w < in.consumer.window.first() || w >= was {
		return fmt.Errorf("%w: window of %d bytes, of %d, is enough for route %d", frame.ErrMalformed, w, was, in.consumer.num)
	}
	in.window.Store(w)
	ins.pool.give(was - w)
	return nil
}

// grow (rule 13) doubles the window of a route whose sender had to wait with a message that
// has left nanoseconds until its deadline, and tells the sender. The link's reader calls it.
func (in *inbound) grow(left int64) {
	ins, now := in.of, in.of.clock.now()
	in.starved.Store(now)
	ins.mu.Lock()
	defer ins.mu.Unlock()
	w := in.window.Load()
	more := min(w, int64(in.consumer.window)-w)
	settled := in.returned + int64(in.owed.Load()&(1<<owedBits-1))
	if more <= 0 || !in.growth.may(settled, in.taken-settled, w, now, left) || in.consumer.paused.Load() || ins.ours >= oursLeaving || in.stage >= inRemoving || !ins.pool.take(more, now) {
		return
	}
	in.window.Store(w + more)
	in.resized++
	ins.frameLocked(frame.Credit, &frame.Head{frame.FRoute: uint64(in.consumer.num), frame.FWindow: uint64(w + more)})
	ins.wakeLocked()
}

// shrinkLocked (rule 11) takes some of the window back from a route whose sender did not
// have to wait lately: never more than is given back at the same time, so that
// no credit is revoked. It reports whether the window has changed. The caller holds writer.mu.
func (in *inbound) shrinkLocked(given int64) bool {
	w := in.window.Load()
	grown := w - in.consumer.window.first()
	if grown <= 0 {
		return false
	}
	now, kept := in.of.clock.now(), int64(windowKept)
	if missed := in.of.pool.missed.Load(); missed > 0 && now-missed < kept {
		kept = int64(windowPressed)
	}
	if now-in.starved.Load() < kept {
		return false
	}
	less := min(given, grown, max(w/2, windowFloor))
	in.window.Store(w - less)
	in.of.pool.give(less)
	return true
}

// giveBack returns to the pool what the window has grown by.
func (in *inbound) giveBack() {
	if grown := in.window.Load() - in.consumer.window.first(); grown > 0 {
		in.window.Add(-grown)
		in.of.pool.give(grown)
	}
}
