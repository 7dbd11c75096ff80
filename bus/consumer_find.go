package bus

// finder finds a request among the messages that wait at a consumer, when its requester
// has given up. A mailbox makes its finder at the first such search, and adds at each
// further one the messages that have come since: so many requests that are given up at once
// cost little each. A finder may keep messages that have been handled meanwhile, but no
// more than wait.
type finder struct {
	by     map[requestKey]*Message
	upto   uint64 // mailbox.pushed, of the last one in it
	passed int    // messages that no longer wait
}

type requestKey struct {
	in *origin
	id uint64
}

// find finds a request that waits or is being handled.
func (b *mailbox) find(in *origin, id uint64) *Message {
	if b == nil {
		return nil
	}
	for _, list := range [][]*Message{b.running, b.batch[:b.taken]} {
		for _, m := range list {
			if m.in == in && m.id == id && m.kind() == kindRequest {
				return m
			}
		}
	}
	if b.finder == nil {
		b.finder = &finder{by: map[requestKey]*Message{}}
		b.keys.each(b.finder.add)
	}
	f, waiting := b.finder, b.waiting()
	fresh := min(b.pushed-f.upto, uint64(len(waiting)))
	for _, m := range waiting[uint64(len(waiting))-fresh:] {
		f.add(m)
	}
	f.upto = b.pushed
	return f.by[requestKey{in, id}]
}

func (f *finder) add(m *Message) {
	if m.kind() == kindRequest {
		f.by[requestKey{m.in, m.id}] = m
	}
}

// left notes that n messages do not wait any more.
func (b *mailbox) left(n int) {
	if f := b.finder; f != nil {
		if f.passed += n; f.passed >= b.len() {
			b.finder = nil
		}
	}
}
