package bus

import (
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// slowConn takes bytes at a rate, and fails a write that ends after its deadline.
type slowConn struct {
	net.Conn
	second int // bytes of one
	until  time.Time
}

func (c *slowConn) SetWriteDeadline(t time.Time) error { c.until = t; return nil }

func (c *slowConn) Write(b []byte) (int, error) {
	time.Sleep(time.Second * time.Duration(len(b)) / time.Duration(c.second))
	if time.Now().After(c.until) {
		return 0, os.ErrDeadlineExceeded
	}
	return len(b), nil
}

// Each part of what is written has half of writeLimit at least, a piece of a large
// body too: a slow link lasts.
func TestSlowWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := New()
		defer eb.Close()
		l := eb.core.newLink(Peer{Name: "n1"}, &slowConn{second: writePartLast / 4}, nil) // 4 s a part
		for _, size := range []struct{ buffer, chunk int }{{writePartLast / 2, 0}, {100, chunkLarge}, {4 * writePart, 0}, {100, chunkLarge}} {
			p := part{b: make([]byte, size.buffer)}
			if size.chunk > 0 {
				p.bulk, p.chunk = &bulkOut{}, make([]byte, size.chunk)
			}
			for len(p.b) > 0 {
				n, err := l.write(p, eb.core.clock.now(), false)
				if err != nil {
					t.Fatalf("%d bytes and a piece of %d: %v", size.buffer, size.chunk, err)
				}
				p.b = p.b[min(n, len(p.b)):]
			}
		}
	})
}
