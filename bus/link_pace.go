package bus

import "time"

// pace is how many bytes a link writes at a time, so that what comes next, which may
// be more urgent, waits for about paceTime: fewer where the connection takes them
// slowly, which shows once the kernel's buffer is full. It also limits how many wait
// to be written.
type pace struct {
	most  int  // of one write
	limit int  // from so many bytes on that are not written calls wait
	slow  bool // the last write was
}

const (
	paceTime   = 10 * time.Millisecond
	paceLeast  = 16 << 10
	paceMost   = bufferCap / 2
	limitLeast = 64 << 10
)

func (p *pace) set(most int) {
	p.most = max(paceLeast, min(most, paceMost))
	p.limit = max(limitLeast, 2*p.most)
}

// took adapts to a write of n bytes that took so long: to a slow one if the one
// before was slow, too, as this process, or the peer's, may have had to wait for a
// processor.
func (p *pace) took(n int, d time.Duration) {
	again := p.slow
	p.slow = d > paceTime
	switch {
	case p.slow && again:
		p.set(min(p.most/2, int(int64(n)*int64(paceTime)/int64(d))))
	case d < paceTime/2 && n >= p.most/2:
		p.set(2 * p.most)
	}
}
