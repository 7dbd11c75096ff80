package main

import "sync"

// floorBoxCap is the number of bytes in a mailbox from which on the reader
// waits: without credit there is no other way to hold up the sender.
const floorBoxCap = 1 << 20

// floorBox is a consumer: a mailbox, and a goroutine while there is something
// in it. The goroutine takes the whole slice and leaves none, so that a consumer
// that is idle holds nothing.
type floorBox struct {
	handle func(body []byte) []byte

	mu      sync.Mutex
	room    sync.Cond
	in      []floorItem
	bytes   int
	running bool
}

type floorItem struct {
	link *floorLink
	kind byte
	id   uint64
	body []byte
}

func newFloorBox(h func(body []byte) []byte) *floorBox {
	b := &floorBox{handle: h}
	b.room.L = &b.mu
	return b
}

// put appends a message.
func (b *floorBox) put(it floorItem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.bytes >= floorBoxCap {
		b.room.Wait()
	}
	b.in = append(b.in, it)
	b.bytes += len(it.body)
	if !b.running {
		b.running = true
		go b.run() // ends when the mailbox is empty
	}
}

// run handles what is there. Replies are written when the mailbox is empty.
func (b *floorBox) run() {
	var dirty *floorLink
	for {
		items := b.swap(dirty == nil)
		if items == nil && dirty == nil {
			return
		}
		if items == nil {
			dirty.flush()
			dirty = nil
		}
		for i := range items {
			it := &items[i]
			reply := b.handle(it.body)
			if it.kind == floorRequest {
				_ = it.link.post(floorReply, it.id, "", reply) // fails only with the connection
				dirty = it.link
			}
		}
	}
}

// swap takes out all that is there; with rest the goroutine ends if there is nothing.
func (b *floorBox) swap(rest bool) []floorItem {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.in) == 0 {
		b.running = !rest
		return nil
	}
	items := b.in
	b.in, b.bytes = nil, 0
	b.room.Broadcast()
	return items
}
