package bus

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

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

// check checks the alignment of all bodies and of the writes that have some or
// come between their chunks. It returns how many bodies there are, in frames and
// in chunks.
func (c *tape) check(t *testing.T) (framed, chunked int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	missing := map[uint64]uint64{} // bytes of bodies in chunks
	write, padded := 0, false      // where it began; it must end aligned
	ends := func(at int) {
		if padded && (at-write)%frame.Alignment != 0 {
			t.Errorf("a write with large bodies, or between chunks, has %d bytes", at-write)
		}
	}
	for at := 0; at < len(c.all); {
		kind, begin, end, err := frame.Next(c.all[at:])
		if err != nil {
			t.Fatal(err)
		}
		tail := kind == frame.Pad && (c.starts[at+end] || at+end == len(c.all)) // of the chunk before: on a pipe they are writes
		if c.starts[at] && !tail {
			ends(at)
			write, padded = at, len(missing) > 0
		}
		var f frame.Frame
		switch kind {
		case frame.Msg, frame.Reply, frame.Chunk, frame.Bulk:
			if err := f.Parse(c.all[at+begin : at+end]); err != nil {
				t.Fatal(err)
			}
		}
		at += end
		if len(f.Body) >= frame.AlignedBody {
			padded = true
			if from := at - len(f.Body) - write; from%frame.Alignment != 0 {
				t.Errorf("a body of %d bytes begins at %d", len(f.Body), from)
			}
		}
		switch id := f.Bulk(); {
		case kind == frame.Bulk:
			missing[id] = f.Size()
			padded = true
		case kind == frame.Chunk:
			if missing[id] -= uint64(len(f.Body)); missing[id] == 0 {
				delete(missing, id)
				chunked++
			}
		case len(f.Body) >= frame.AlignedBody:
			framed++
		}
	}
	ends(len(c.all))
	return framed, chunked
}

// Bodies of all sizes are aligned from 8 KiB on, and so are the writes around
// them, whatever else is said on the link.
func TestAlignment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testAlignment) // where no write is slow, and so cut short
}

func testAlignment(t *testing.T) {
	a, b := New(), New()
	tapes := [2]*tape{{starts: map[int]bool{}}, {starts: map[int]bool{}}}
	tapes[0].Conn, tapes[1].Conn = net.Pipe()
	up := make(chan struct{}, 2)
	for i, eb := range []*EventBus{a, b} {
		attachment, err := eb.Attach(Peer{Name: string(rune('a' + i)), Boot: uint64(1 + i)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		go attachment.ServeLink(t.Context(), Peer{Name: string(rune('b' - i)), Boot: uint64(2 - i)}, tapes[i], func() { up <- struct{}{} })
	}
	<-up
	<-up
	echo := Respond(func(_ context.Context, body []byte) ([]byte, error) { return body, nil })
	for _, address := range []string{"large", "small"} {
		cn, err := b.Consume(address, echo)
		if err != nil {
			t.Fatal(err)
		}
		if err := cn.Known(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	request := func(address string, size, i int) {
		body := bytes.Repeat([]byte{byte(1 + i)}, size)
		m, err := a.Request(t.Context(), address, body, WithHeader("n", strings.Repeat("x", i)))
		if err != nil || !bytes.Equal(m.Body, body) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	stop := make(chan struct{})
	var callers, others sync.WaitGroup
	others.Go(func() { // beside the chunks
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				request("small", i%300+i%5*frame.AlignedBody/4, i%7)
			}
		}
	})
	var framed, inChunks int
	for i, size := range []int{100, frame.AlignedBody - 1, frame.AlignedBody, 20001, chunked - 7, chunked, chunked + 1, 100_003, writePart, 700_001, 1 << 20} {
		switch {
		case size > chunked:
			inChunks++
		case size >= frame.AlignedBody:
			framed++
		}
		callers.Go(func() { request("large", size, i) })
	}
	callers.Wait()
	close(stop)
	others.Wait()
	a.Close()
	b.Close()
	for i, tape := range tapes {
		if f, c := tape.check(t); f < framed || c != inChunks {
			t.Errorf("node %d wrote %d large bodies in frames, %d in chunks; want %d, %d", i, f, c, framed, inChunks)
		}
	}
}
