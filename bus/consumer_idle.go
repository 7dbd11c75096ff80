package bus

import "sync"

// idlers are consumers that have become idle since the last tick of the coarse clock. They
// keep their mailboxes until then, and what their windows have grown by: a consumer that
// keeps up with its senders is idle after every few messages, and would begin anew, with a
// small window, each time.
type idlers struct {
	mu        sync.Mutex // taken after Consumer.mu
	consumers []*Consumer
}

const idlersMax = 64 // consumers that linger

// add notes that a consumer lingers, unless there are too many.
func (i *idlers) add(c *Consumer) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.consumers) == idlersMax {
		return false
	}
	i.consumers = append(i.consumers, c)
	return true
}

// dismiss makes the consumers idle that linger and have nothing to do.
func (i *idlers) dismiss() {
	i.mu.Lock()
	cs := i.consumers
	i.consumers = nil
	i.mu.Unlock()
	for _, c := range cs {
		c.mu.Lock()
		if c.box != nil {
			c.box.lingers = false
		}
		c.restIfIdleLocked()
		c.mu.Unlock()
	}
}

// linger makes a consumer idle, which has no worker any more, soon. The caller holds
// Consumer.mu.
func (i *idlers) linger(c *Consumer) {
	b := c.box
	if !c.closed && b.len() == 0 {
		if b.lingers = b.lingers || i.add(c); b.lingers {
			return
		}
	}
	c.restIfIdleLocked()
}

// restIfIdleLocked makes the consumer idle if it has no message and no worker. It returns
// to the pool what the window for messages of this node's has grown by: nobody holds
// credit of it then.
func (c *Consumer) restIfIdleLocked() {
	b := c.box
	if b == nil || b.workers > 0 || b.parked > 0 || b.len() > 0 {
		return
	}
	c.node.mailboxes.put(b)
	c.box = nil
	if grown := c.local.window - c.window.first(); grown > 0 {
		c.local.window -= grown
		c.node.pool.give(grown)
	}
}
