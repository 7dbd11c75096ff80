package main

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// Every body begins with two numbers, so the least size is 16 bytes: the run
// and the message's number in it, and when it was sent (0 in most, as looking
// at the clock takes as long as some systems take for a message).
const (
	numberBits = 40
	numberMask = 1<<numberBits - 1
	lastStamp  = 1 << 63 // set in the stamp of the last message of a run
	filler     = 0x5a
)

// newBody returns a body of the pattern that all systems carry.
func newBody(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = filler
	}
	return b
}

func mark(body []byte, run, number, stamp uint64) {
	binary.LittleEndian.PutUint64(body, run<<numberBits|number)
	binary.LittleEndian.PutUint64(body[8:], stamp)
}

// now is comparable between processes of one machine.
func now() int64 { return time.Now().UnixNano() }

// sampled says of how many messages of a size one carries the time.
func sampled(size int) uint64 {
	switch {
	case size <= 1<<10:
		return 64
	case size < 1<<20:
		return 8
	}
	return 1
}

// receiver counts what a consumer gets.
type receiver struct{ cur atomic.Pointer[count] }

// count is what a consumer has got in one run. The consumer's function alone
// writes it; others read the atomics, and the rest once done is closed.
type count struct {
	run  uint64
	size int
	done chan struct{} // closed when the last message is in

	received atomic.Int64
	broken   atomic.Int64 // out of order, twice, or damaged
	next     uint64       // no number from here on has come
	last     int64
	hist     histogram // from sending to the consumer's function
}

func (r *receiver) arm(run uint64, size int) {
	r.cur.Store(&count{run: run, size: size, done: make(chan struct{})})
}

// take is the consumer's function.
func (r *receiver) take(body []byte) {
	c := r.cur.Load()
	if c == nil || len(body) < 16 {
		return
	}
	n := binary.LittleEndian.Uint64(body)
	if n>>numberBits != c.run {
		return // late, and counted as lost there
	}
	n &= numberMask
	if n < c.next || len(body) != c.size || c.size > 16 && body[c.size-1] != filler {
		c.broken.Add(1)
	}
	c.next = max(c.next, n+1) // what is missing is known at the end
	c.received.Store(c.received.Load() + 1)
	if stamp := binary.LittleEndian.Uint64(body[8:]); stamp != 0 {
		c.stamped(stamp)
	}
}

func (c *count) stamped(stamp uint64) {
	t := now()
	c.hist.add(t - int64(stamp&^lastStamp))
	if stamp&lastStamp != 0 && c.last == 0 {
		c.last = t
		close(c.done)
	}
}

// Received is what a consumer got in a run.
type Received struct {
	Count, Broken int64
	Last          int64 // when the last message came; 0 if it did not
	P50, P99      float64
}

// stuckAfter is how long nothing comes before what is missing is lost.
const stuckAfter = 3 * time.Second

// collect waits for the end of the run.
func (r *receiver) collect() Received {
	c := r.cur.Load()
	tick := time.NewTicker(stuckAfter)
	defer tick.Stop()
	for seen := int64(-1); ; {
		select {
		case <-c.done:
			return Received{
				Count: c.received.Load(), Broken: c.broken.Load(), Last: c.last,
				P50: c.hist.quantile(0.50), P99: c.hist.quantile(0.99),
			}
		case <-tick.C:
		}
		n := c.received.Load()
		if n == seen {
			return Received{Count: n, Broken: c.broken.Load()}
		}
		seen = n
	}
}
