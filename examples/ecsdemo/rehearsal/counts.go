package rehearsal

// counts is what the table that changes in place shows of a task.
type counts struct {
	sent       uint64 // messages; each greeting is a Send and a Publish
	received   uint64
	fromOthers uint64 // of those, greetings of other tasks
	lost       uint64 // or under way
}

// counts are those of all tasks, by name.
func (t *tally) counts() map[string]counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]counts{}
	for _, name := range t.names {
		all[name] = counts{sent: 2 * t.sent[name], lost: t.lost(pointVerticle, name) + t.lost(broadcastVerticle, name)}
	}
	for p, n := range t.received {
		c := all[p.to]
		c.received += n
		if p.from != p.to {
			c.fromOthers += n
		}
		all[p.to] = c
	}
	for s, f := range t.flows {
		c := all[s.name]
		c.sent, c.received = c.sent+f.sent, c.received+f.handled
		all[s.name] = c
	}
	return all
}

// counterStarts is how often a CounterVerticle was started.
func (t *tally) counterStarts() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counters
}
