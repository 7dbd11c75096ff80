package main

import (
	"errors"
	"time"
)

// SendArgs describe a run of sending.
type SendArgs struct {
	Address string
	Run     uint64
	Size    int
	For     time.Duration
	Publish bool
	Local   bool // the receiver may be the sender's process, and share the body
}

// Sent is what was sent in a run.
type Sent struct {
	Count  int64
	Start  int64
	NotYet string // why the system cannot do it
}

// Send sends as fast as the system takes it. The messages carry numbers, and
// the last one says that it is the last.
func (n *Node) Send(a SendArgs, sent *Sent) error {
	send := n.t.Send
	if a.Publish {
		send = n.t.Publish
	}
	bodies := newBodies(a.Size, a.Local)
	every := sampled(a.Size)
	sent.Start = now()
	end := sent.Start + int64(a.For)
	for i, stamp := uint64(0), uint64(0); stamp&lastStamp == 0; i++ {
		if stamp = 0; i%every == 0 {
			t := now()
			if stamp = uint64(t); t >= end {
				stamp |= lastStamp
			}
		}
		body := bodies.next()
		mark(body, a.Run, i, stamp)
		if err := send(a.Address, body); errors.Is(err, errNotYet) && i == 0 {
			sent.NotYet = err.Error()
			return nil
		} else if err != nil {
			return err
		}
		sent.Count++
	}
	return n.t.Flush()
}

// bodies hands out bodies in turn.
type bodies struct {
	all [][]byte
	i   int
}

// newBodies makes one body, which a sender may use again when a call has
// returned. For a channel, which shares it, it makes more: one comes again only
// when the channel must have been emptied of it.
func newBodies(size int, shared bool) *bodies {
	b := &bodies{all: make([][]byte, 1)}
	if shared {
		b.all = make([][]byte, 2*channelCap)
	}
	for i := range b.all {
		b.all[i] = newBody(size)
	}
	return b
}

func (b *bodies) next() []byte {
	body := b.all[b.i]
	if b.i++; b.i == len(b.all) {
		b.i = 0
	}
	return body
}
