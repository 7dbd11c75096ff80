package lease

import (
	"cmp"
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// courtAddress is where the holder of a singleton's lease is asked: those who stand
// by ask what is new, and are answered when something is.
func courtAddress(name string) string { return "_runrig.lease." + name }

// A petition asks for news of the record.
type petition struct {
	Revision string `json:"revision,omitempty"`
	Seen     uint64 `json:"seen,omitempty"` // the version that is known
}

// A decree tells what the holder wrote last.
type decree struct {
	Record  []byte `json:"record,omitempty"`
	Version uint64 `json:"version,omitempty"`  // 0: nothing is known of it
	Delay   int64  `json:"delay_ms,omitempty"` // that others, of a newer revision, come first
}

const (
	precedence = 400 * time.Millisecond // how long older revisions wait
	courtRoom  = 4096                   // standbys that may wait at a holder
)

// A court is where a holder is asked.
type court struct {
	consumer *bus.Consumer // nil: it is closed

	mu        sync.Mutex
	news      Change
	released  bool          // as the news say
	changed   chan struct{} // closed when there is something to tell
	closed    bool
	revisions map[string]int // of those who wait
}

func newCourt() *court {
	return &court{changed: make(chan struct{}), closed: true, revisions: map[string]int{}}
}

// open lets those who stand by ask.
func (c *court) open(eb *bus.EventBus, name string) (err error) {
	c.mu.Lock()
	c.closed = false
	clear(c.revisions)
	c.mu.Unlock()
	c.consumer, err = eb.Consume(courtAddress(name), bus.Respond(c.hear), bus.WithConcurrency(courtRoom), bus.Reserved())
	return err
}

// close answers all who wait: with what was told last.
func (c *court) close() {
	c.mu.Lock()
	c.closed = true
	c.wakeLocked()
	c.mu.Unlock()
	_ = c.consumer.Close()
}

// tell tells what the holder has written.
func (c *court) tell(news Change) {
	rec, err := decode("", news.Value)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news, c.released = news, err == nil && rec.Holder == ""
	c.wakeLocked()
}

func (c *court) wakeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// hear answers a petition when there is something to tell.
func (c *court) hear(ctx context.Context, p petition) (decree, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revisions[p.Revision]++
	for c.news.Version <= p.Seen && !c.closed {
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if ctx.Err() != nil {
			c.leaveLocked(p.Revision)
			return decree{}, ctx.Err()
		}
	}
	d := decree{Record: c.news.Value, Version: c.news.Version}
	if c.news.Version <= p.Seen { // the holder has lost the lease: the record tells more
		d = decree{}
	}
	if c.released && c.hasNewerLocked(p.Revision) {
		d.Delay = precedence.Milliseconds()
	}
	if !c.released {
		c.leaveLocked(p.Revision)
	}
	return d, nil
}

// leaveLocked counts one less who waits. Where the lease was released all count:
// those who are answered later must know of them.
func (c *court) leaveLocked(revision string) {
	if c.revisions[revision]--; c.revisions[revision] <= 0 { // it may be of a reign before
		delete(c.revisions, revision)
	}
}

func (c *court) hasNewerLocked(revision string) bool {
	for r := range c.revisions {
		if newer(r, revision) {
			return true
		}
	}
	return false
}

// newer reports whether a is a newer revision than b.
func newer(a, b string) bool {
	n, aerr := strconv.ParseUint(a, 10, 64)
	m, berr := strconv.ParseUint(b, 10, 64)
	if aerr == nil && berr == nil {
		return n > m
	}
	return cmp.Compare(a, b) > 0
}
