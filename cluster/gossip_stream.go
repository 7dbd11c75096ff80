package cluster

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
)

// memberlist reads what a stream says by the numbers in it, and keeps it. A
// message is therefore read whole, looked through and paid for before memberlist
// sees any of it: in bytes of the other end, and in what they become in memory,
// since a list of small things takes many times its size.
const (
	maxStateNodes = 4096     // nodes that a message may tell of
	maxStateBytes = 1 << 20  // of serf's state
	maxStream     = 6 << 20  // what a message may cost
	maxStreams    = 24 << 20 // all messages together, where there is no secret

	nodeCost = 112 // memberlist's list of nodes is made by the number told
	itemCost = 32  // a number, a text, a list
	maxDepth = 8   // of lists in lists
	readStep = 64 << 10
)

var (
	errGossip      = errors.New("not what a node says on a gossip stream")
	errGossipLarge = fmt.Errorf("%w: it is too large", errGossip)
)

// What a node opens a gossip stream with, and what it answers.
var (
	gossipAsks    = []byte{gossipPing, gossipPushPull}
	gossipAnswers = []byte{gossipAck, gossipPushPull, gossipError}
)

// readGossip reads the message with which a gossip stream begins, if it has that
// label and is of one of those types, and returns the stream as if nothing had
// been read. Its errors match errGossip, errCrowdedGossip if there is no room in
// the pool, or are the stream's. The room is given back when the stream is closed.
func readGossip(c net.Conn, pool *pool, e *envelope, label, types []byte) (net.Conn, error) {
	l := &lease{pool: pool}
	s := &said{from: bufio.NewReader(c), lease: l}
	if err := s.message(e, label, types); err != nil {
		l.free()
		return nil, err
	}
	return &replayed{Conn: c, said: *bytes.NewReader(s.all), lease: l}, nil
}

// replayed is a stream of which the message has been read. What comes after it
// nobody reads.
type replayed struct {
	net.Conn
	said  bytes.Reader
	lease *lease
}

// Read returns the message.
func (r *replayed) Read(b []byte) (int, error) { return r.said.Read(b) }

// Close closes the stream.
func (r *replayed) Close() error {
	defer r.lease.free()
	return r.Conn.Close()
}

// dialled is a gossip stream that this node opened: the answer is read whole when
// the first of it is wanted.
type dialled struct {
	net.Conn
	envelope *envelope
	answer   net.Conn
}

// Read reads the answer. It is not called concurrently.
func (d *dialled) Read(b []byte) (int, error) {
	if d.answer == nil {
		c, err := readGossip(d.Conn, nil, d.envelope, nil, gossipAnswers)
		if err != nil {
			return 0, err
		}
		d.answer = c
	}
	return d.answer.Read(b)
}

// A pool is room for what all streams together say. A nil one has no limit.
type pool struct {
	mu   sync.Mutex
	left int
}

func (p *pool) take(n int) bool {
	if p == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > p.left {
		return false
	}
	p.left -= n
	return true
}

// A lease is the room that one message takes.
type lease struct {
	pool *pool

	mu    sync.Mutex
	taken int
}

// take takes more room.
func (l *lease) take(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case n > maxStream-l.taken:
		return errGossipLarge
	case !l.pool.take(n):
		return errCrowdedGossip
	}
	l.taken += n
	return nil
}

// free gives the room back, once.
func (l *lease) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pool.take(-l.taken)
	l.taken = 0
}

// said is what has been read of a message. After an error it reads zeros.
type said struct {
	from  *bufio.Reader
	lease *lease
	all   []byte
	err   error
}

func (s *said) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %w", errGossip, fmt.Errorf(format, args...))
	}
}

func (s *said) pay(n int) {
	if s.err == nil {
		s.err = s.lease.take(n)
	}
}

// next reads n bytes, some at a time, and pays for what it reads, not for what it is
// told. The last of them are returned, of a small n all.
func (s *said) next(n int) []byte {
	var last []byte
	for n > 0 && s.err == nil {
		step := min(n, readStep)
		if s.pay(step); s.err != nil {
			break
		}
		s.all = slices.Grow(s.all, step)
		last = s.all[len(s.all) : len(s.all)+step]
		if _, s.err = io.ReadFull(s.from, last); s.err == nil {
			s.all = s.all[:len(s.all)+step]
			n -= step
		}
	}
	if s.err != nil {
		return nil
	}
	return last
}

// peek returns the byte that is read next.
func (s *said) peek() byte {
	b, err := s.from.Peek(1)
	if s.err == nil {
		s.err = err
	}
	if s.err != nil {
		return 0
	}
	return b[0]
}

func (s *said) byte() byte {
	if b := s.next(1); b != nil {
		return b[0]
	}
	return 0
}

// bigEndian reads a number of so many bytes.
func (s *said) bigEndian(size int) (n uint64) {
	for _, b := range s.next(size) {
		n = n<<8 | uint64(b)
	}
	return n
}

// message reads one message.
func (s *said) message(e *envelope, label, types []byte) error {
	if got := s.next(len(label)); s.err == nil && !bytes.Equal(got, label) {
		s.fail("label %q", got)
	}
	switch kind := s.byte(); {
	case s.err != nil:
	case !slices.Contains(types, kind):
		s.fail("type %d", kind)
	case kind == gossipPushPull:
		s.pushPull(e.events)
	default:
		s.value(maxDepth)
	}
	return s.err
}

// pushPull reads an exchange of states: a header, nodes, and serf's state.
func (s *said) pushPull(gate *eventGate) {
	nodes, state := s.header()
	for ; nodes > 0 && s.err == nil; nodes-- {
		s.pay(nodeCost)
		s.value(maxDepth)
	}
	if state == 0 || s.err != nil {
		return
	}
	end := len(s.all) + state
	if kind := s.byte(); kind != serfState {
		s.fail("a state of type %d", kind)
	}
	s.state(gate)
	if s.err == nil && len(s.all) != end {
		s.fail("a state that has %d bytes more than it tells", len(s.all)-end)
	}
}

// header reads how many nodes are told of, and of how many bytes the state is.
func (s *said) header() (nodes, state int) {
	s.fields(func(key string, _ int) {
		n := s.number()
		switch {
		case key == "Nodes" && n <= maxStateNodes:
			nodes = int(n)
		case key == "UserStateLen" && n <= maxStateBytes:
			state = int(n)
		case key != "Join":
			s.fail("%s of %d", key, n)
		}
	})
	if s.err != nil {
		return 0, 0
	}
	return nodes, state
}

// key reads text of up to 31 bytes.
func (s *said) key() string {
	k := s.byte()
	if k&0xe0 != 0xa0 {
		s.fail("a key of kind %#x", k)
	}
	return string(s.next(int(k & 0x1f)))
}
