package bridge

import "time"

// Limits bound what one client may cost, and the first two what all may. A field that is 0
// stands for its default; a duration below 0 for none.
type Limits struct {
	Clients      int // that may be connected: 50,000; further connections are closed at once
	AllConsumers int // addresses that all clients together may be registered at: 250,000, as all nodes know them, and a node has a million

	Frame          int           // bytes of a frame of a client: 1 MiB. Over TCP a longer one ends the connection
	Consumers      int           // addresses that a client may be registered at: 1,000
	Requests       int           // requests of a client that may wait for their replies: 1,000
	Unanswered     int           // requests that a client may have got and not answered: 1,000; further ones fail
	Outbox         int           // bytes that wait for a client where it hears what is published with others ([Rule.PublishedOnly]): 1 MiB; what comes then waits for 20 ms once, and skips the client until all is written
	Address        int           // bytes of an address that a client may be registered at: 200; the bus takes 255 in any other frame
	ReplyAddress   int           // bytes of a client's reply address: 36, as those of all known clients have
	PingTimeout    time.Duration // after which a WebSocket from which no frame came is closed: 10 s
	TCPPingTimeout time.Duration // the same for TCP, whose clients need not ping: none
	Write          time.Duration // for a frame to a client to be taken by its connection; then it is cut: 10 s
	Read           time.Duration // for a frame over TCP that has begun to be whole: 30 s
	Reply          time.Duration // for the reply to a request without the header timeout, and the most for one with it: 30 s
}

func (l Limits) withDefaults() Limits {
	or(&l.Clients, 50_000)
	or(&l.AllConsumers, 250_000)
	or(&l.Frame, 1<<20)
	or(&l.Consumers, 1000)
	or(&l.Requests, 1000)
	or(&l.Unanswered, 1000)
	or(&l.Outbox, 1<<20)
	or(&l.Address, 200)
	or(&l.ReplyAddress, 36)
	or(&l.PingTimeout, 10*time.Second)
	or(&l.Write, 10*time.Second)
	or(&l.Read, 30*time.Second)
	or(&l.Reply, 30*time.Second)
	return l
}

func or[T comparable](v *T, def T) {
	var none T
	if *v == none {
		*v = def
	}
}

// wsFrame is how long a WebSocket message may be: with SockJS it holds a frame as a
// string, whose quotes are escaped.
func (l Limits) wsFrame(sockjs bool) int64 {
	if sockjs {
		return 2*int64(l.Frame) + 1<<10
	}
	return int64(l.Frame)
}
