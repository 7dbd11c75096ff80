package bustest

import (
	"fmt"
	"time"
)

// Stall lets nothing that this end sends arrive any more, until Resume: neither
// bytes nor the end of the stream nor a reset. Writes are still accepted until
// the direction is full. What had arrived before can be read.
func (c *Conn) Stall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.stalled = true
	c.out.stopTimer()
}

// Resume ends Stall: what was held back arrives now, in order, or later where
// its delay is not over.
func (c *Conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.stalled = false
	c.out.deliver()
}

// Cut loses, silently and for good, everything that this end has sent and that
// has not arrived, and everything that it will send: bytes, the end of the
// stream, a reset. Writes succeed and never find the direction full for it. The
// other end may read what had arrived before, then hears nothing.
func (c *Conn) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.cut = true
	c.out.dropFlight()
}

// SetDelay makes what this end sends from now on arrive later, by what delay
// returns. It is called at each Write, CloseWrite and Close, concurrently if
// these are, and with no lock held: it may take those of its own. The order is
// kept, so that what is sent also waits for what was sent before it. Nil, the
// default, and a duration that is not positive mean no delay. Bytes count
// against the buffer while they are on their way.
//
// In a synctest bubble a stream that is never idle needs a delay: without one
// its traffic takes no time, and time stands still while it lasts.
func (c *Conn) SetDelay(delay func() time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.delay, c.out.drawn = delay, 0
}

// SetRate makes what this end sends from now on leave at so many bytes a second,
// and little by little; then it takes its delay. Zero, the default, means no limit.
// What has not left counts against the buffer, as in a kernel's: with [WithBuffer]
// that is how much a slow stream takes before a write has to wait. It panics if the
// rate is negative.
func (c *Conn) SetRate(bytesPerSecond int) {
	if bytesPerSecond < 0 {
		panic(fmt.Sprintf("bustest: SetRate(%d): a rate cannot be negative", bytesPerSecond))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.rate, c.out.leaves = bytesPerSecond, time.Time{}
}

// drawDelay returns how late is what this end sends next. The caller does not
// hold mu: who calls a pipe's methods may hold a lock that delay takes.
func (c *Conn) drawDelay() time.Duration {
	c.mu.Lock()
	delay := c.out.delay
	c.mu.Unlock()
	if delay == nil {
		return 0
	}
	return delay()
}

// Reset breaks the stream at both ends at once, whatever is stalled, cut or
// delayed: what was not read is lost, and calls return [syscall.ECONNRESET],
// but after Close still [net.ErrClosed].
func (c *Conn) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onReset()
	c.peer.onReset()
}
