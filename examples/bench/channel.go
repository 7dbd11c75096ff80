package main

import (
	"context"
	"fmt"
	"sync"
)

// channelCap is the buffer of a local consumer's channel.
const channelCap = 1024

// channels is the floor within one process: a buffered channel and a goroutine
// for each consumer. Bodies are shared, not copied: see bodies.
type channels struct {
	mu    sync.RWMutex
	boxes map[string]chan job
}

type job struct {
	body  []byte
	reply chan []byte // nil unless it is a request
}

var replyChannels = sync.Pool{New: func() any { return make(chan []byte, 1) }}

func newChannels() *channels {
	return &channels{boxes: make(map[string]chan job)}
}

func (c *channels) Addr() string { return "" }

func (c *channels) Consume(address string, f func(body []byte)) error {
	return c.Answer(address, func(body []byte) []byte { f(body); return nil })
}

func (c *channels) Answer(address string, f func(body []byte) []byte) error {
	box := make(chan job, channelCap)
	c.mu.Lock()
	c.boxes[address] = box
	c.mu.Unlock()
	go func() { // ends with the process
		for j := range box {
			if b := f(j.body); j.reply != nil {
				j.reply <- b
			}
		}
	}()
	return nil
}

func (c *channels) Known(context.Context) error { return nil }

func (c *channels) Send(address string, body []byte) error { return c.put(address, job{body: body}) }

func (c *channels) Publish(address string, body []byte) error {
	return c.put(address, job{body: body})
}

func (c *channels) put(address string, j job) error {
	c.mu.RLock()
	box := c.boxes[address]
	c.mu.RUnlock()
	if box == nil {
		return fmt.Errorf("channel: no consumer of %q", address)
	}
	box <- j
	return nil
}

func (c *channels) Request(_ context.Context, address string, body []byte) ([]byte, error) {
	ch := replyChannels.Get().(chan []byte)
	if err := c.put(address, job{body: body, reply: ch}); err != nil {
		return nil, err
	}
	b := <-ch
	replyChannels.Put(ch)
	return b, nil
}

func (c *channels) Flush() error { return nil }
