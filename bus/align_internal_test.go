package bus

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/wire"
)

func TestPad(t *testing.T) {
	t.Parallel()
	for n := range 100 {
		b := appendPad(nil, n)
		if (n+len(b))%alignment != 0 || len(b) > len((&link{}).pad) {
			t.Errorf("%d bytes after %d", len(b), n)
		}
		var f wire.Frame
		if err := proto.Unmarshal(b, &f); err != nil || (len(b) > 0) != (f.Kind != nil) {
			t.Errorf("%x is %v, %v", b, f.Kind, err)
		} else if _, ok := f.Kind.(*wire.Frame_Pad); len(b) > 0 && !ok {
			t.Errorf("%x is %T", b, f.Kind)
		}
	}
}

// tape keeps what is written to a connection.
type tape struct {
	net.Conn
	mu     sync.Mutex
	all    []byte
	starts map[int]bool // of writes
}

func (c *tape) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.starts[len(c.all)] = true
	c.all = append(c.all, b...)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// check returns how many bodies are aligned, within what is written at once.
func (c *tape) check(t *testing.T) (aligned int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	write, large := 0, false // where it began; it has a large body
	for at := 0; at < len(c.all); {
		kind, begin, end, err := nextFrame(c.all[at:])
		if err != nil {
			t.Fatal(err)
		}
		if c.starts[at] && (!large || kind != framePad) { // that of a chunk is a write of its own here
			if large && (at-write)%alignment != 0 {
				t.Errorf("a write with a large body has %d bytes", at-write)
			}
			write, large = at, false
		}
		var f frame
		switch kind {
		case frameMsg, frameReply, frameChunk:
			if err := f.parse(c.all[at+begin : at+end]); err != nil {
				t.Fatal(err)
			}
		}
		at += end
		if len(f.body) >= alignedBody {
			large = true
			aligned++
			if from := at - len(f.body) - write; from%alignment != 0 {
				t.Errorf("a body of %d bytes begins at %d", len(f.body), from)
			}
		}
	}
	return aligned
}

// Bodies of all sizes are aligned from 8 KiB on, and so are the writes around
// them, whatever else is said on the link.
func TestAlignment(t *testing.T) {
	t.Parallel()
	a, b := New(), New()
	defer a.Close()
	defer b.Close()
	tapes := [2]*tape{{starts: map[int]bool{}}, {starts: map[int]bool{}}}
	tapes[0].Conn, tapes[1].Conn = net.Pipe()
	up := make(chan struct{}, 2)
	for i, eb := range []*EventBus{a, b} {
		links, err := eb.Attach(Peer{Name: string(rune('a' + i)), Boot: uint64(1 + i)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		go links.Serve(t.Context(), Peer{Name: string(rune('b' - i)), Boot: uint64(2 - i)}, tapes[i], func() { up <- struct{}{} })
	}
	<-up
	<-up
	cn, err := b.Consume("echo", Respond(func(_ context.Context, body []byte) ([]byte, error) { return body, nil }))
	if err != nil {
		t.Fatal(err)
	}
	if err := cn.Known(t.Context()); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	bodies := 0
	for i, size := range []int{100, alignedBody - 1, alignedBody, 20001, chunked - 7, chunked, chunked + 1, 100_003, writePart, 700_001, 1 << 20} {
		if size >= alignedBody {
			bodies++
		}
		callers.Go(func() {
			body := bytes.Repeat([]byte{byte(1 + i)}, size)
			m, err := a.Request(t.Context(), "echo", body, WithHeader("n", strings.Repeat("x", i)))
			if err != nil || !bytes.Equal(m.Body, body) {
				t.Errorf("%d bytes: %v", size, err)
			}
		})
	}
	callers.Wait()
	for i, tape := range tapes {
		if n := tape.check(t); n < bodies {
			t.Errorf("%d of %d bodies of node %d are aligned", n, bodies, i)
		}
	}
}
