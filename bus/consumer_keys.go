package bus

import (
	"cmp"
	"slices"
)

// keyTurns lets the messages of one key be handled one at a time, in the order in which they
// came, at a consumer that handles several messages at once: a message has its key's turn
// until its handler has returned, and those of the key behind it are held meanwhile. A
// mailbox makes it for the first message that was sent by key. All of it is guarded by
// Consumer.mu.
type keyTurns struct {
	taken map[uint64][]keyed // the keys whose turn a message has, and what is held for each, in order
	next  []keyed            // messages that have their key's turn and are to be handled before those that wait
	held  int                // messages in taken
	came  uint64             // messages that were held, ever
}

// keyed is a message that was held.
type keyed struct {
	m  *Message
	at uint64 // keyTurns.came
}

// key returns the key that the message was sent by, as its hash in a choice; 0: by none. A request has
// one only at a consumer that handles several messages at once.
func (m *Message) key() uint64 {
	switch r := m.rare.Load(); {
	case m.kind() == kindSend:
		return choice(m.id).key()
	case r != nil:
		return r.key
	}
	return 0
}

// key returns the choice of a message that is sent by key without all else; 0: it is not.
func (ch choice) key() uint64 {
	if ch&byKey == 0 {
		return 0
	}
	return uint64(ch>>choiceBits<<choiceBits | byKey)
}

// comeTo notes a message by key that comes to a consumer, and returns the key if it is a
// request and the consumer gives turns to keys, as it handles several messages at once. A
// send has its key in its choice, which it brings along anyway.
func (ch choice) comeTo(c *Consumer, kind uint64) uint64 {
	if ch&byKey == 0 {
		return 0
	}
	c.local.home.cameByKey()
	if c.concurrency == 1 || kind != kindRequest {
		return 0
	}
	return ch.key()
}

// len returns how many messages are held, or are next.
func (k *keyTurns) len() int {
	if k == nil {
		return 0
	}
	return k.held + len(k.next)
}

// takeTurn gives a message that is being begun its key's turn, which is free.
func (b *mailbox) takeTurn(m *Message) {
	key := m.key()
	if key == 0 {
		return
	}
	if b.keys == nil {
		b.keys = &keyTurns{taken: map[uint64][]keyed{}}
	}
	b.keys.taken[key] = nil
}

// skipTaken takes the messages at the head of the line out of it whose key's turn another
// message has, and holds them.
func (b *mailbox) skipTaken() {
	k := b.keys
	if k == nil {
		return
	}
	for b.head < len(b.in) {
		m := b.in[b.head]
		line, taken := k.taken[m.key()]
		if !taken {
			return
		}
		k.came++
		k.held++
		k.taken[m.key()] = append(line, keyed{b.shift(), k.came})
		if b.finder != nil {
			b.finder.add(m)
		}
	}
}

// pass passes on the turn that m has, whose handler has returned.
func (k *keyTurns) pass(m *Message) {
	if k == nil {
		return
	}
	key := m.key()
	line := k.taken[key]
	if len(line) == 0 {
		delete(k.taken, key)
		return
	}
	k.next = append(k.next, line[0])
	line[0] = keyed{}
	k.taken[key] = line[1:]
	k.held--
}

// pop takes out the next message that has its key's turn already; nil if there is none.
func (k *keyTurns) pop() *Message {
	if k == nil || len(k.next) == 0 {
		return nil
	}
	m := k.next[0].m
	k.next = slices.Delete(k.next, 0, 1)
	return m
}

// each calls f for each message that is held, or is next.
func (k *keyTurns) each(f func(*Message)) {
	if k == nil {
		return
	}
	for _, h := range k.next {
		f(h.m)
	}
	for _, line := range k.taken {
		for _, h := range line {
			f(h.m)
		}
	}
}

// release takes out all messages, in the order in which they came. The keys of the messages
// that are being handled keep their turns.
func (k *keyTurns) release() []*Message {
	all := k.next
	for _, n := range k.next {
		all = append(all, k.taken[n.m.key()]...)
		delete(k.taken, n.m.key())
	}
	for key, line := range k.taken {
		all = append(all, line...)
		k.taken[key] = nil
	}
	k.next, k.held = nil, 0
	slices.SortFunc(all, func(a, b keyed) int { return cmp.Compare(a.at, b.at) })
	ms := make([]*Message, len(all))
	for i, h := range all {
		ms[i] = h.m
	}
	return ms
}
