package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// floor is no bus but the least that one does on a connection: a frame has a
// length, a kind, an id and the address by name. There is no membership, no
// codec, no header, no deadline, no credit and no route. It is the measure for
// what a bus adds.
//
// Receivers listen, and the sender dials each.
type floor struct {
	ln net.Listener // of a receiver

	boxMu sync.RWMutex
	boxes map[string]*floorBox // by address

	links []*floorLink // of the sender

	ids     atomic.Uint64
	pendMu  sync.Mutex
	pending map[uint64]chan []byte
}

func newFloor(s Setup) (transport, error) {
	f := &floor{boxes: make(map[string]*floorBox), pending: make(map[uint64]chan []byte)}
	if s.Role == receiverRole {
		return f, f.listen(s.Keys)
	}
	for _, addr := range s.Addrs {
		conn, err := dialFloor(addr, s.Keys)
		if err != nil {
			return nil, err
		}
		f.links = append(f.links, f.serve(conn))
	}
	return f, nil
}

func dialFloor(addr string, k *Keys) (net.Conn, error) {
	if k == nil {
		return net.Dial("tcp", addr)
	}
	c, err := k.client()
	if err != nil {
		return nil, err
	}
	return tls.Dial("tcp", addr, c)
}

func (f *floor) listen(k *Keys) (err error) {
	if f.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if k != nil {
		c, err := k.server()
		if err != nil {
			return err
		}
		f.ln = tls.NewListener(f.ln, c)
	}
	go func() { // ends with the process
		for {
			conn, err := f.ln.Accept()
			if err != nil {
				return
			}
			f.serve(conn)
		}
	}()
	return nil
}

// serve starts the two goroutines of a connection, which end with it.
func (f *floor) serve(conn net.Conn) *floorLink {
	l := newFloorLink(f, conn)
	go l.writer()
	go l.reader()
	return l
}

func (f *floor) Addr() string {
	if f.ln == nil {
		return ""
	}
	return f.ln.Addr().String()
}

func (f *floor) Consume(address string, h func(body []byte)) error {
	return f.Answer(address, func(body []byte) []byte { h(body); return nil })
}

func (f *floor) Answer(address string, h func(body []byte) []byte) error {
	f.boxMu.Lock()
	defer f.boxMu.Unlock()
	f.boxes[address] = newFloorBox(h)
	return nil
}

func (f *floor) Known(context.Context) error { return nil }

// Send takes the first connection: there is no routing.
func (f *floor) Send(address string, body []byte) error {
	return f.links[0].post(floorSend, 0, address, body)
}

func (f *floor) Publish(address string, body []byte) error {
	for _, l := range f.links {
		if err := l.post(floorSend, 0, address, body); err != nil {
			return err
		}
	}
	return nil
}

func (f *floor) Request(ctx context.Context, address string, body []byte) ([]byte, error) {
	id, ch := f.ids.Add(1), replyChannels.Get().(chan []byte)
	f.pendMu.Lock()
	f.pending[id] = ch
	f.pendMu.Unlock()
	if err := f.links[0].post(floorRequest, id, address, body); err != nil {
		return nil, err
	}
	f.links[0].flush()
	select {
	case b := <-ch:
		replyChannels.Put(ch)
		return b, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("floor: request to %q: %w", address, ctx.Err())
	case <-f.links[0].down:
		return nil, errors.New("floor: the connection is lost")
	}
}

// answer wakes the caller that waits for the reply.
func (f *floor) answer(id uint64, body []byte) {
	f.pendMu.Lock()
	ch := f.pending[id]
	delete(f.pending, id)
	f.pendMu.Unlock()
	if ch != nil {
		ch <- body
	}
}

func (f *floor) Flush() error { return nil }

// box returns the consumer of an address.
func (f *floor) box(address []byte) *floorBox {
	f.boxMu.RLock()
	defer f.boxMu.RUnlock()
	return f.boxes[string(address)]
}
