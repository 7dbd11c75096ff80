package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// When a hundred nodes start, each of them learns of a hundred members and gets a
// hundred links. The first of each kind of news are told line by line, the others of
// that spell in one line at its end.
const (
	digestSpell  = 10 * time.Second
	digestSingly = 8 // lines of a kind in a spell, and peers that the last line names
)

// A digest logs news of peers.
type digest struct {
	log *slog.Logger

	mu     sync.Mutex
	kinds  map[kind]*batch
	closed bool
}

type kind struct {
	level slog.Level
	text  string
}

// A batch is the news of one kind in a spell.
type batch struct {
	kind
	singly int
	more   []string // names, at most digestSingly
	count  int
	timer  *time.Timer
}

func newDigest(log *slog.Logger) *digest {
	return &digest{log: log, kinds: map[kind]*batch{}}
}

// tell logs one news of a kind, which its text is, or keeps it for the end of the
// spell.
func (d *digest) tell(level slog.Level, text string, who bus.Peer) {
	if !d.keep(level, text, who) {
		d.log.Log(context.Background(), level, text, "peer", who.String(), "address", who.Addr)
	}
}

// keep keeps a news unless it is among the first of a spell.
func (d *digest) keep(level slog.Level, text string, who bus.Peer) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	k := kind{level, text}
	b := d.kinds[k]
	if b == nil {
		b = &batch{kind: k}
		b.timer = time.AfterFunc(digestSpell, func() { d.end(b) })
		d.kinds[k] = b
	}
	if b.singly < digestSingly {
		b.singly++
		return false
	}
	if b.count++; len(b.more) < digestSingly {
		b.more = append(b.more, who.String())
	}
	return true
}

// end ends a spell.
func (d *digest) end(b *batch) {
	d.mu.Lock()
	ended := d.kinds[b.kind] == b
	if ended {
		delete(d.kinds, b.kind)
	}
	d.mu.Unlock()
	if ended && b.count > 0 {
		d.log.Log(context.Background(), b.level, b.text, "more", b.count, "peers", b.more)
	}
}

// close tells what was kept. From then on each news is told by itself.
func (d *digest) close() {
	d.mu.Lock()
	d.closed = true
	var all []*batch
	for _, b := range d.kinds {
		b.timer.Stop()
		all = append(all, b)
	}
	d.mu.Unlock()
	for _, b := range all {
		d.end(b)
	}
}

// logMember logs a change of membership. Who closes is not concerned by others'
// failures; and gossip, which alone finds a member again where there is no
// discovery, does not find one that it has forgotten.
func (n *Node) logMember(e Event) {
	switch e := e.(type) {
	case Joined:
		n.digest.tell(slog.LevelInfo, "member joined", e.Member.Peer)
	case Left:
		n.digest.tell(slog.LevelInfo, "member left", e.Member.Peer)
	case Failed:
		level := slog.LevelWarn
		if n.closing.Load() {
			level = slog.LevelInfo
		}
		n.digest.tell(level, "member failed", e.Member.Peer)
	case Forgotten:
		switch {
		case e.Member.Status != StatusFailed:
		case n.provider != nil:
			n.digest.tell(slog.LevelInfo, "a member that failed is forgotten; it is found again when discovery tells of it", e.Member.Peer)
		default:
			n.digest.tell(slog.LevelWarn, "a member that failed is forgotten, and there is no discovery to find it again", e.Member.Peer)
		}
	}
}
