package bus

import "time"

// chunkPace is how much of large bodies a link writes, beside what else it has to
// say. It is guarded by writer.mu.
//
// A window of unacknowledged bytes bounds what is before a small message, in the
// kernel and on the line: what the line takes in a second at most, and more where
// the way is long, to fill it. Beyond that large bodies may send as much as other
// messages do, which fill the same kernel and line, so that each have half of a
// link that both would fill.
type chunkPace struct {
	quiet     int  // chunks since another message was posted
	chunkNext bool // the next write is a chunk, even if there are other frames
	earned    int  // bytes of other messages since, for which chunks may be sent

	rate float64 // bytes a second that are acknowledged; 0: not known
	base int64   // the shortest time from a chunk to its acknowledgement; 0: not known

	counted int    // bytes acknowledged since
	since   int64  // when
	probe   uint64 // the large frame whose chunks are being timed; 0: none's are
	probed  int    // bytes of it that are acknowledged when the probe ends
	begun   int64  // the probe
}

const (
	chunkSize   = 16 << 10
	chunkLarge  = 512 << 10 // the same where no other message passed for a while
	chunkBeside = 80 << 10  // unacknowledged bytes, where other messages pass
	chunkAlone  = 1 << 20   // the same where none did for a while
	chunkLeast  = 32 << 10  // the same on the slowest line
	chunkFill   = 4 << 20   // that a long way may have more
	chunkQuiet  = 64        // chunks without another message between them

	rateLeast = 100 * time.Millisecond // to measure for
	longWay   = 5 * time.Millisecond
)

// window returns how many bytes may be unacknowledged.
func (p *chunkPace) window() int {
	w := chunkBeside
	if p.quiet >= chunkQuiet {
		w = chunkAlone
	}
	if p.rate == 0 {
		return w
	}
	w = max(chunkLeast, min(w, int(min(p.rate, chunkAlone))))
	if p.base > int64(longWay) {
		w += int(min(1.25*p.rate*float64(p.base)/1e9, chunkFill))
	}
	return w
}

// allows reports whether a chunk may be sent where so many bytes are
// unacknowledged.
func (p *chunkPace) allows(unacked int) bool { return unacked < p.window() || p.earned >= chunkSize }

// size returns the size of the next chunk, of which the connection takes about most
// soon.
func (p *chunkPace) size(most int) int {
	n := chunkSize
	if p.quiet >= chunkQuiet {
		n = min(chunkLarge, p.window()/2)
	}
	return max(chunkSize, min(max(n, p.earned), most))
}

// other notes that so many bytes of other frames were written.
func (p *chunkPace) other(n int) {
	p.chunkNext = true
	p.earned = min(p.earned+n, chunkLarge)
}

// sent notes that a chunk of b was.
func (p *chunkPace) sent(b *bulkOut, n int, now int64) {
	p.chunkNext = false
	p.quiet++
	p.earned = max(0, p.earned-n)
	if p.probe == 0 && !b.whole() { // the last is not acknowledged
		p.probe, p.probed, p.begun = b.id, b.sent, now
	}
}

// acked notes that so many bytes of b were.
func (p *chunkPace) acked(b *bulkOut, n int, now int64) {
	if p.probe == b.id && b.acked+chunkAck > p.probed {
		took := max(1, now-p.begun)
		if p.base == 0 || took < p.base {
			p.base = took
		}
		p.probe = 0
	}
	if p.since == 0 {
		p.since, p.counted = now, 0
		return
	}
	p.counted += n
	if took := now - p.since; took >= int64(rateLeast) || took > 0 && p.counted >= 4*chunkAck {
		p.rate = float64(p.counted) / (float64(took) / 1e9)
		p.since, p.counted = now, 0
	}
}

// over forgets b, which is no longer sent; none says that no other is.
func (p *chunkPace) over(b *bulkOut, none bool) {
	if p.probe == b.id {
		p.probe = 0
	}
	if none {
		p.since, p.earned = 0, 0
	}
}
