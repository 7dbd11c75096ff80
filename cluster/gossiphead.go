package cluster

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
)

// What memberlist allocates by the word of who is at the other end of a gossip
// stream, before it has read any of it. Without a secret that may be anybody.
const (
	maxStateNodes = 4096    // nodes that a stream may say it tells of, of about 112 bytes
	maxStateBytes = 1 << 20 // of serf's state
	headBytes     = 512     // the head of a stream fits
)

var errGossipHead = errors.New("not the head of a gossip stream")

// What a node opens a gossip stream with, and what it answers.
var (
	gossipAsks    = []byte{gossipPing, gossipPushPull}
	gossipAnswers = []byte{gossipAck, gossipPushPull, gossipError}
)

// checkGossip looks at the head of a gossip stream and refuses what no node sends:
// another label, other types of messages, and numbers that are out of proportion.
// It returns the stream as if nothing had been read.
func checkGossip(c net.Conn, label, types []byte) (net.Conn, error) {
	b := bufio.NewReaderSize(c, headBytes)
	h := head{r: b}
	if got := h.skip(len(label)); h.err == nil && !bytes.Equal(got, label) {
		h.err = fmt.Errorf("%w: label %q", errGossipHead, got)
	}
	switch kind := h.next(); {
	case h.err != nil:
	case !slices.Contains(types, kind):
		h.err = fmt.Errorf("%w: type %d", errGossipHead, kind)
	case kind == gossipPushPull:
		h.pushPull()
	}
	if h.err != nil {
		return nil, h.err
	}
	return buffered{c, b}, nil
}

// buffered is a stream of which some has been looked at.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

// Read reads what has been looked at, then on.
func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// dialled is a gossip stream that this node opened: the answer is checked before
// the first of it is read.
type dialled struct {
	net.Conn
	checked net.Conn
}

// Read checks the head of the answer when it is called first, and reads on. It is
// not called concurrently.
func (d *dialled) Read(b []byte) (int, error) {
	if d.checked == nil {
		c, err := checkGossip(d.Conn, nil, gossipAnswers)
		if err != nil {
			return 0, err
		}
		d.checked = c
	}
	return d.checked.Read(b)
}

// head is a reader that takes nothing away. After an error it reads zeros.
type head struct {
	r   *bufio.Reader
	at  int
	err error
}

func (h *head) skip(n int) []byte {
	if h.err != nil {
		return nil
	}
	b, err := h.r.Peek(h.at + n)
	if err != nil {
		h.err = err
		return nil
	}
	h.at += n
	return b[h.at-n : h.at]
}

func (h *head) next() byte {
	if b := h.skip(1); b != nil {
		return b[0]
	}
	return 0
}

// pushPull checks the header of an exchange of states: a map in MessagePack, of
// text to numbers and booleans.
func (h *head) pushPull() {
	fields := h.next()
	if h.err == nil && fields&0xf0 != 0x80 {
		h.err = fmt.Errorf("%w: a header of kind %#x", errGossipHead, fields)
	}
	for range fields & 0x0f {
		key := h.text()
		n := h.number()
		if h.err == nil && (key == "Nodes" && n > maxStateNodes || key == "UserStateLen" && n > maxStateBytes) {
			h.err = fmt.Errorf("%w: %s of %d", errGossipHead, key, n)
		}
	}
}

// text reads text of up to 31 bytes.
func (h *head) text() string {
	k := h.next()
	if h.err == nil && k&0xe0 != 0xa0 {
		h.err = fmt.Errorf("%w: a key of kind %#x", errGossipHead, k)
	}
	return string(h.skip(int(k & 0x1f)))
}

// number reads a number or a boolean. A negative number is a large one.
func (h *head) number() (n uint64) {
	k := h.next()
	switch {
	case k < 0x80:
		return uint64(k)
	case k == 0xc2 || k == 0xc3: // false, true
		return 0
	case k >= 0xcc && k <= 0xcf: // of 1, 2, 4 or 8 bytes
		return h.bigEndian(1 << (k - 0xcc))
	case k >= 0xd0 && k <= 0xd3: // the same, signed; no node sends a negative one
		size := 1 << (k - 0xd0)
		if n = h.bigEndian(size); n>>(8*size-1) != 0 {
			return 1 << 63
		}
		return n
	}
	if h.err == nil {
		h.err = fmt.Errorf("%w: a number of kind %#x", errGossipHead, k)
	}
	return 0
}

func (h *head) bigEndian(size int) (n uint64) {
	for _, b := range h.skip(size) {
		n = n<<8 | uint64(b)
	}
	return n
}
