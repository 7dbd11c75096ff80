package bus

import (
	"slices"
	"sync"
	"sync/atomic"
)

// mailbox is the messages that wait for a consumer and those that it handles. A
// consumer has a mailbox only while it has work; a nil mailbox is empty. All of it is
// guarded by Consumer.mu, but for begin, which the worker calls without the lock.
//
// The worker of a consumer that handles one message at a time takes a batch of messages
// under the lock, and begins each of them without it. A goroutine that wants the messages
// of the batch which are not begun seals it: they wait again, and the worker, which finds
// the batch sealed, takes the lock for its next message.
type mailbox struct {
	in       []*Message
	head     int                // in[head:] waits
	batch    [batchMax]*Message // written by the worker
	taken    int                // messages in batch; written by the worker
	begun    atomic.Uint32      // messages of batch that were begun; with sealed no other may be
	passed   int                // messages of batch that were begun and passed: see passLocked
	running  []*Message         // messages being handled, if several are at a time or answers are deferred
	parked   int                // messages of running whose handlers have returned
	workers  int                // goroutines, or turns of the scope that were asked for
	gossiped int64              // bytes in it that came over the gossip lane
	sweeper  sweeper            // while the consumer is paused
	pushed   uint64             // messages, ever
	finder   *finder            // of those that wait; nil: none was looked for lately
	keys     *keyTurns          // nil: no message by key has come where several are handled at a time
	slab     slab               // for what this node sends
	growth   growth             // of the window for that
	sampler  sampler            // of batches
	lingers  bool               // the consumer is one of ownNode.idlers
}

const (
	batchMax   = 64
	batchBytes = 64 << 10 // of a batch, or one message: what is handled stays in it
	sealed     = 1 << 31
)

// waiting returns the messages that wait in line: all that wait, but for those that wait for
// their key's turn.
func (b *mailbox) waiting() []*Message {
	if b == nil {
		return nil
	}
	return b.in[b.head:]
}

// len returns how many messages wait.
func (b *mailbox) len() int {
	if b == nil {
		return 0
	}
	return len(b.in) - b.head + b.keys.len()
}

// ready reports whether a worker may find a message to begin.
func (b *mailbox) ready() bool { return len(b.waiting()) > 0 || b.keys != nil && len(b.keys.next) > 0 }

// begin begins the next message of the batch; it returns nil if there is none.
// Only the worker calls it, without the lock.
func (b *mailbox) begin() *Message {
	i := b.begun.Load()
	if i >= uint32(b.taken) || !b.begun.CompareAndSwap(i, i+1) {
		return nil
	}
	return b.batch[i]
}

// progress returns how many messages of the batch are begun, and how many are the
// worker's still to begin.
func (b *mailbox) progress() (begun, rest int) {
	n := b.begun.Load()
	if n&sealed != 0 {
		return int(n &^ sealed), 0
	}
	return int(n), b.taken - int(n)
}

// handling returns the messages whose handlers run; some of them may have
// returned meanwhile.
func (b *mailbox) handling() []*Message {
	if b == nil {
		return nil
	}
	if n := b.begun.Load() &^ sealed; n > 0 {
		return b.batch[:n]
	}
	return b.running
}

func (b *mailbox) busy() bool { return len(b.handling()) > 0 }

// claim takes the next messages that wait, at most n unless that is negative,
// and what a batch may have, into the batch, which is over.
func (b *mailbox) claim(n int) {
	if n < 0 {
		n = batchMax
	}
	ms := b.waiting()
	ms = ms[:min(len(ms), n, batchMax)]
	bytes := 0
	for i, m := range ms {
		if bytes += int(m.cost); bytes > batchBytes {
			ms = ms[:max(1, i)]
			break
		}
	}
	clear(b.batch[:b.taken])
	b.taken, b.passed = copy(b.batch[:], ms), 0
	b.begun.Store(0)
	clear(ms)
	if b.head += len(ms); b.head == len(b.in) {
		b.in, b.head = b.in[:0], 0
	}
	b.left(len(ms))
}

// seal lets what the worker has not begun wait in line again, and what is held for a key.
func (b *mailbox) seal() {
	if n := b.begun.Or(sealed); n&sealed == 0 && n < uint32(b.taken) {
		b.waitAgain(b.batch[n:b.taken])
	}
	if b.keys.len() > 0 {
		b.waitAgain(b.keys.release())
	}
}

// waitAgain puts messages at the head of the line.
func (b *mailbox) waitAgain(ms []*Message) {
	b.finder = nil // which may not have them
	if b.head < len(ms) {
		b.in = slices.Insert(b.in, b.head, ms...)
		return
	}
	b.head -= len(ms)
	copy(b.in[b.head:], ms)
}

// push appends a message, for little: it moves down what waits when half of the
// slice has been handled.
func (b *mailbox) push(m *Message) {
	if b.head > 0 && len(b.in) == cap(b.in) && b.head >= len(b.in)/2 {
		k := copy(b.in, b.in[b.head:])
		clear(b.in[k:])
		b.in, b.head = b.in[:k], 0
	}
	b.in = append(b.in, m)
	b.pushed++
}

// pop begins the next message; nil if there is none. Where byKey is set, messages wait for
// their key's turn.
func (b *mailbox) pop(byKey bool) *Message {
	m := b.keys.pop()
	if m == nil {
		if byKey {
			b.skipTaken()
		}
		if m = b.shift(); m == nil {
			return nil
		}
		if byKey {
			b.takeTurn(m)
		}
	}
	b.running = append(b.running, m)
	b.left(1)
	return m
}

// shift takes out the first message in line; nil if there is none.
func (b *mailbox) shift() *Message {
	if b.head == len(b.in) {
		return nil
	}
	m := b.in[b.head]
	b.in[b.head] = nil
	if b.head++; b.head == len(b.in) {
		b.in, b.head = b.in[:0], 0
	}
	return m
}

func (b *mailbox) ran(m *Message) {
	i := slices.Index(b.running, m)
	b.running[i] = b.running[len(b.running)-1]
	b.running[len(b.running)-1] = nil
	b.running = b.running[:len(b.running)-1]
}

// take takes out the messages that wait and for which which says so.
func (b *mailbox) take(which func(*Message) bool) (taken []*Message) {
	if b == nil {
		return nil
	}
	b.seal()
	b.finder = nil
	left := b.in[:0]
	for _, m := range b.waiting() {
		if which(m) {
			taken = append(taken, m)
		} else {
			left = append(left, m)
		}
	}
	clear(b.in[len(left):])
	b.in, b.head = left, 0
	return taken
}

// mailboxPool is memory of mailboxes.
type mailboxPool struct{ unused sync.Pool }

func (p *mailboxPool) get() *mailbox {
	if b, _ := p.unused.Get().(*mailbox); b != nil {
		return b
	}
	return &mailbox{in: make([]*Message, 0, 256)}
}

// put gives back an empty mailbox that nobody else knows.
func (p *mailboxPool) put(b *mailbox) {
	b.gossiped = 0 // also of what was taken out
	b.growth = growth{}
	b.sweeper.stop()
	b.finder, b.lingers = nil, false
	if cap(b.in) <= 4096 {
		p.unused.Put(b)
	}
}

// putLocked appends messages and reports whether a worker should start. The
// caller holds c.mu.
func (c *Consumer) putLocked(ms []Message) (start bool) {
	c.openLocked()
	for i := range ms {
		c.box.push(&ms[i])
	}
	return c.wantsWorkerLocked(len(ms))
}

func (c *Consumer) openLocked() {
	if c.box == nil {
		c.box = c.node.mailboxes.get()
	}
	if c.counts == nil {
		c.counts = new(counts)
	}
}

// wantsWorkerLocked reports whether a worker should start, now that so many
// messages have come. It counts it.
func (c *Consumer) wantsWorkerLocked(came int) bool {
	b := c.box
	if c.paused.Load() {
		b.sweeper.watch(c, came)
		return false
	}
	if b.workers == int(c.concurrency) || len(b.running)-b.parked < b.workers { // one is about to look
		return false
	}
	if c.concurrency > 1 {
		if b.skipTaken(); !b.ready() {
			return false
		}
	}
	if b.workers++; b.workers == 1 && b.parked == 0 {
		c.node.work.active.Add(1)
	}
	return true
}
