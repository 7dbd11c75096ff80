package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// When a hundred nodes start, each of them gets a hundred links. The first news of each
// kind are told line by line, the others in one line at the end of each spell, until a
// spell has had none.
const (
	digestSpell  = 10 * time.Second
	digestSingly = 5 // lines of a kind that are told one by one
	digestNames  = 8 // peers that a line for many names
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
	more   []string // names, at most digestNames
	count  int
	timer  *time.Timer
}

func newDigest(log *slog.Logger) *digest {
	return &digest{log: log, kinds: map[kind]*batch{}}
}

// tell logs one news of a kind, which its text is, or keeps it for the end of the
// spell, without args.
func (d *digest) tell(level slog.Level, text string, who bus.Peer, args ...any) {
	if !d.keep(level, text, who) {
		d.log.Log(context.Background(), level, text, append([]any{"peer", who.String(), "address", who.Addr}, args...)...)
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
	if b.count++; len(b.more) < digestNames {
		b.more = append(b.more, who.String())
	}
	return true
}

// end ends a spell. If it had more news than were told one by one, those of the next are
// kept from the first on.
func (d *digest) end(b *batch) {
	d.mu.Lock()
	ended := d.kinds[b.kind] == b
	said := *b
	switch {
	case !ended:
	case b.count == 0 || d.closed:
		delete(d.kinds, b.kind)
	default:
		b.more, b.count = nil, 0
		b.timer.Reset(digestSpell)
	}
	d.mu.Unlock()
	if ended && said.count > 0 {
		d.log.Log(context.Background(), said.level, said.text, "more", said.count, "peers", said.more)
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

// logMember logs a change of membership. That a new member has joined is told by its link,
// or by the lack of it. Who closes is not concerned by others'
// failures; and gossip, which alone finds a member again where there is no
// discovery, does not find one that it has forgotten.
func (n *Node) logMember(was Member, e Event) {
	switch e := e.(type) {
	case Joined:
		if was.Boot == 0 {
			n.log.Debug("member joined", "peer", e.Member.String(), "address", e.Member.Addr)
			return
		}
		n.digest.tell(slog.LevelInfo, "member is back", e.Member.Peer)
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
