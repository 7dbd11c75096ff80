package bus

// asks begins a request to an address, of which r is the ring; nil: it is not known.
func (s *sender) asks(r *ring) timing {
	if r == nil {
		return timing{s.clock.now(), 1}
	}
	return r.begin(spanRequest)
}

// asked counts a request that has ended with err.
func (s *sender) asked(r *ring, address string, t timing, err error) {
	if r == nil {
		r = s.rings.dir.get(address)
	}
	if r == nil {
		s.stats.add(endOf(err), 1)
		s.books.forgotten.counts[endOf(err)-rareCounters].Add(1)
		return
	}
	r.count(endOf(err), 1)
	r.end(spanRequest, t, 1)
}

// ends are the counters of requests by the Class of their error.
var ends = map[string]counter{
	"refused": countRefused, "no_consumer": countNoConsumer, "busy": countBusy,
	"link_lost": countLinkLost, "timeout": countTimedOut, "canceled": countGivenUp,
}

// endOf returns the counter of requests that end with err.
func endOf(err error) counter {
	if err == nil {
		return countReplied
	}
	if c, ok := ends[Class(err)]; ok {
		return c
	}
	return countOther
}
