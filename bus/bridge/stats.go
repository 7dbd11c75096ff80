package bridge

import "sync/atomic"

// Stats are counters since the bridge was made, but for the first four, which are
// of now.
type Stats struct {
	Clients    int // connected
	Consumers  int // addresses that clients are registered at
	Requests   int // of clients, that wait for their reply
	Unanswered int // requests that clients have been given and have not answered

	Connected uint64 // clients
	Full      uint64 // connections that were closed, as there were too many ([Limits.Clients])
	Refused   uint64 // of those connected: by Authorize
	Idle      uint64 // of those: closed, as nothing came from them
	Slow      uint64 // of those: cut, as they did not read
	Broken    uint64 // of those: cut, as what they sent was no frame

	FramesIn, BytesIn   uint64 // from clients
	FramesOut, BytesOut uint64 // to clients

	Denied      uint64 // frames that the rules or Authorize refused
	Invalid     uint64 // frames that were answered by another error
	NotSent     uint64 // sends and publishes of clients that found no consumer, or no room
	Withheld    uint64 // messages for clients that the rules or Authorize kept back
	Skipped     uint64 // messages for clients that had no room ([Limits.Outbox])
	Undelivered uint64 // messages that were lost with the connection, or had no JSON
	LateAnswers uint64 // of clients, to requests that had ended
}

type counters struct {
	clients, consumers, requests, unanswered atomic.Int64
	connected, full, refused                 atomic.Uint64
	idle, slow, broken                       atomic.Uint64
	framesIn, bytesIn, framesOut, bytesOut   atomic.Uint64
	denied, invalid, notSent                 atomic.Uint64
	withheld, skipped, undelivered           atomic.Uint64
	lateAnswers                              atomic.Uint64
}

// Stats returns the counters.
func (b *Bridge) Stats() Stats {
	s := &b.stats
	return Stats{
		Clients: int(s.clients.Load()), Consumers: int(s.consumers.Load()),
		Requests: int(s.requests.Load()), Unanswered: int(s.unanswered.Load()),
		Connected: s.connected.Load(), Full: s.full.Load(), Refused: s.refused.Load(), Idle: s.idle.Load(), Slow: s.slow.Load(), Broken: s.broken.Load(),
		FramesIn: s.framesIn.Load(), BytesIn: s.bytesIn.Load(), FramesOut: s.framesOut.Load(), BytesOut: s.bytesOut.Load(),
		Denied: s.denied.Load(), Invalid: s.invalid.Load(), NotSent: s.notSent.Load(),
		Withheld: s.withheld.Load(), Skipped: s.skipped.Load(), Undelivered: s.undelivered.Load(), LateAnswers: s.lateAnswers.Load(),
	}
}
