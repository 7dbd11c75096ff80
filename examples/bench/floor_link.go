package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// Kinds of frames.
const (
	floorSend = iota
	floorRequest
	floorReply
)

const (
	floorHead      = 4 + 1 + 8 + 1 // length of what follows, kind, id, length of the address
	floorRead      = 64 << 10
	floorBatch     = 256 << 10 // bytes not yet written from which on senders wait
	floorInline    = 32 << 10  // more is left to the writer
	floorInlineMax = 2         // batches that a caller writes at most
)

// floorLink is one connection. Senders append to one buffer under a mutex;
// whoever writes swaps it with the other one first. A sender of a message leaves
// the writing to the writer; who sends a request or a reply writes it at once
// if nobody else does.
type floorLink struct {
	floor *floor
	conn  net.Conn
	wake  chan struct{} // of one
	down  chan struct{}

	mu      sync.Mutex
	room    sync.Cond
	buf     []byte
	spare   []byte
	writing bool
	err     error
}

func newFloorLink(f *floor, conn net.Conn) *floorLink {
	l := &floorLink{floor: f, conn: conn, wake: make(chan struct{}, 1), down: make(chan struct{})}
	l.room.L = &l.mu
	return l
}

// post appends a frame. It waits while the buffer is full.
func (l *floorLink) post(kind byte, id uint64, address string, body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.buf) >= floorBatch && l.err == nil {
		l.wakeLocked()
		l.room.Wait()
	}
	if l.err != nil {
		return l.err
	}
	b := binary.LittleEndian.AppendUint32(l.buf, uint32(floorHead-4+len(address)+len(body)))
	b = binary.LittleEndian.AppendUint64(append(b, kind), id)
	b = append(append(b, byte(len(address))), address...)
	l.buf = append(b, body...)
	if kind == floorSend {
		l.wakeLocked()
	}
	return nil
}

func (l *floorLink) wakeLocked() {
	if l.writing {
		return // and looks again
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// flush writes what is there unless somebody else is at it.
func (l *floorLink) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := 0; !l.writing && len(l.buf) > 0 && l.err == nil; i++ {
		if i == floorInlineMax || len(l.buf) > floorInline {
			l.wakeLocked()
			return
		}
		l.writeLocked()
	}
}

func (l *floorLink) writer() {
	for range l.wake {
		l.mu.Lock()
		for !l.writing && len(l.buf) > 0 && l.err == nil {
			l.writeLocked()
		}
		end := l.err != nil
		l.mu.Unlock()
		if end {
			return
		}
	}
}

// writeLocked writes one batch. It lets go of the lock meanwhile.
func (l *floorLink) writeLocked() {
	b := l.buf
	l.buf, l.spare, l.writing = l.spare[:0], nil, true
	l.mu.Unlock()
	l.room.Broadcast()
	_, err := l.conn.Write(b)
	l.mu.Lock()
	l.spare, l.writing = b[:0], false
	if err != nil {
		l.failLocked(err)
	}
}

func (l *floorLink) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failLocked(err)
}

func (l *floorLink) failLocked(err error) {
	if l.err != nil {
		return
	}
	l.err = err
	_ = l.conn.Close()
	close(l.down)
	l.room.Broadcast()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// reader reads frames and gives each a copy of its body.
func (l *floorLink) reader() {
	r := bufio.NewReaderSize(l.conn, floorRead)
	for {
		if err := l.next(r); err != nil {
			l.fail(err)
			return
		}
	}
}

func (l *floorLink) next(r *bufio.Reader) error {
	h, err := r.Peek(floorHead)
	if err != nil {
		return err
	}
	kind, id, n := h[4], binary.LittleEndian.Uint64(h[5:]), int(h[13])
	size := int(binary.LittleEndian.Uint32(h)) - (floorHead - 4) - n
	h, err = r.Peek(floorHead + n)
	if err != nil {
		return err
	}
	var box *floorBox
	if kind != floorReply {
		box = l.floor.box(h[floorHead:])
	}
	_, _ = r.Discard(floorHead + n)
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	switch {
	case kind == floorReply:
		l.floor.answer(id, body)
	case box != nil:
		box.put(floorItem{link: l, kind: kind, id: id, body: body})
	}
	return nil
}
