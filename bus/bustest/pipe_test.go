package bustest_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus/bustest"
)

// pipe returns a pipe that is closed when the test ends.
func pipe(t *testing.T, opts ...bustest.PipeOption) (a, b *bustest.Conn) {
	t.Helper()
	a, b = bustest.Pipe(opts...)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", s, n, err)
	}
}

// read expects that exactly s can be read without waiting.
func read(t *testing.T, c net.Conn, s string) {
	t.Helper()
	b := make([]byte, len(s)+1)
	if n, err := c.Read(b); string(b[:n]) != s || err != nil {
		t.Fatalf("Read = %q, %v, want %q", b[:n], err, s)
	}
}

func readFails(t *testing.T, c net.Conn, want error) {
	t.Helper()
	b := make([]byte, 16)
	if n, err := c.Read(b); n != 0 || !errors.Is(err, want) {
		t.Fatalf("Read = %q, %v, want %v", b[:n], err, want)
	}
}

func writeFails(t *testing.T, c net.Conn, want error) {
	t.Helper()
	if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, want) {
		t.Fatalf("Write = %d, %v, want %v", n, err, want)
	}
}

// silent expects that nothing can be read for an hour of virtual time.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Hour))
	readFails(t, c, os.ErrDeadlineExceeded)
	c.SetReadDeadline(time.Time{})
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func TestStream(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]bustest.PipeOption{
		"default":  nil,
		"tiny":     {bustest.WithBuffer(1)},
		"odd size": {bustest.WithBuffer(4093)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := pipe(t, opts...)
			want := noise(100_000)
			sent := make(chan error, 1)
			go func() { // ends with the Write, which b's reader lets end
				_, err := a.Write(want)
				sent <- errors.Join(err, a.CloseWrite())
			}()
			if err := iotest.TestReader(b, want); err != nil {
				t.Error(err)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConcurrentWritesDoNotMix(t *testing.T) {
	t.Parallel()
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			a, b := pipe(t, bustest.WithBuffer(4))
			var wg sync.WaitGroup
			wg.Go(func() { write(t, a, "firstfirst") })
			synctest.Wait() // it is at it, and there is no room
			wg.Go(func() {
				read(t, limited{b, 4}, "firs")
				write(t, a, "second") // must wait although there is room
			})
			synctest.Wait()
			var got []byte
			for buf := make([]byte, 4); len(got) < 12; {
				n, err := b.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, buf[:n]...)
			}
			wg.Wait()
			if string(got) != "tfirstsecond" {
				t.Fatalf("read %q, want the second write after the first", got)
			}
		})
	}
}

func TestBufferIsBounded(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		opts []bustest.PipeOption
		want int
	}{
		"default": {nil, 256 << 10},
		"set":     {[]bustest.PipeOption{bustest.WithBuffer(10)}, 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe(t, tt.opts...)
				a.SetWriteDeadline(time.Now().Add(time.Second))
				n, err := a.Write(make([]byte, tt.want+1))
				if n != tt.want || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("Write = %d, %v, want %d and the deadline's error", n, err, tt.want)
				}
				a.SetWriteDeadline(time.Time{})
				read(t, limited{b, 4}, "\x00\x00\x00\x00")
				write(t, a, "four")
				a.SetWriteDeadline(time.Now().Add(time.Second))
				writeFails(t, a, os.ErrDeadlineExceeded)
				b.SetWriteDeadline(time.Now().Add(time.Second))
				write(t, b, "other way")
			})
		})
	}
}

// limited takes at most n bytes with one Read.
type limited struct {
	net.Conn
	n int
}

func (l limited) Read(b []byte) (int, error) { return l.Conn.Read(b[:min(l.n, len(b))]) }

func TestDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, bustest.WithBuffer(1))
		write(t, a, "x") // a is full now, and b has nothing to read for it
		start := time.Now()
		after := func(want time.Duration) {
			t.Helper()
			if got := time.Since(start); got != want {
				t.Errorf("it took until %v, want %v", got, want)
			}
		}

		a.SetDeadline(start.Add(time.Second))
		readFails(t, a, os.ErrDeadlineExceeded)
		writeFails(t, a, os.ErrDeadlineExceeded)
		after(time.Second)

		a.SetReadDeadline(start.Add(3 * time.Second))
		time.AfterFunc(time.Second, func() { a.SetReadDeadline(start.Add(5 * time.Second)) })
		readFails(t, a, os.ErrDeadlineExceeded)
		after(5 * time.Second)

		a.SetWriteDeadline(time.Time{})
		time.AfterFunc(2*time.Second, func() { a.SetWriteDeadline(time.Now()) })
		writeFails(t, a, os.ErrDeadlineExceeded)
		after(7 * time.Second)

		b.SetReadDeadline(time.Unix(1, 0))
		readFails(t, b, os.ErrDeadlineExceeded) // although there is input
		b.SetReadDeadline(time.Time{})
		read(t, b, "x")

		var ne net.Error
		a.SetDeadline(time.Unix(1, 0))
		if _, err := a.Read(make([]byte, 1)); !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%v is not a net.Error that is a timeout", err)
		}
	})
}

func TestCloseWrite(t *testing.T) {
	t.Parallel()
	a, b := pipe(t)
	write(t, a, "last")
	for range 2 {
		if err := a.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	writeFails(t, a, syscall.EPIPE)
	read(t, b, "last")
	readFails(t, b, io.EOF)
	write(t, b, "answer")
	read(t, a, "answer")
}

func TestCloseReadsToTheEnd(t *testing.T) {
	t.Parallel()
	a, b := pipe(t)
	write(t, a, "last")
	for range 2 {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	read(t, b, "last")
	readFails(t, b, io.EOF)
	readFails(t, a, net.ErrClosed)
	writeFails(t, a, net.ErrClosed)
	for _, err := range []error{a.CloseWrite(), a.SetDeadline(time.Now()), a.SetReadDeadline(time.Now()), a.SetWriteDeadline(time.Now())} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func TestCloseWithUnreadInputResets(t *testing.T) {
	t.Parallel()
	a, b := pipe(t)
	write(t, a, "lost")
	write(t, b, "unread")
	a.Close()
	readFails(t, b, syscall.ECONNRESET)
	writeFails(t, b, syscall.ECONNRESET)
	if err := b.CloseWrite(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("CloseWrite after a reset: %v", err)
	}
}

func TestInputAfterCloseResets(t *testing.T) {
	t.Parallel()
	a, b := pipe(t)
	write(t, a, "lost")
	a.Close()
	write(t, b, "too late") // accepted, as a socket would
	readFails(t, b, syscall.ECONNRESET)
	writeFails(t, b, syscall.ECONNRESET)
}

// Whatever ends a connection ends the calls that wait on it.
func TestWaitingCallsEnd(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		end         func(a, b *bustest.Conn)
		read, write error
	}{
		"Close":              {func(a, _ *bustest.Conn) { a.Close() }, net.ErrClosed, net.ErrClosed},
		"Reset":              {func(a, _ *bustest.Conn) { a.Reset() }, syscall.ECONNRESET, syscall.ECONNRESET},
		"Reset of the other": {func(_, b *bustest.Conn) { b.Reset() }, syscall.ECONNRESET, syscall.ECONNRESET},
		"other closed":       {func(_, b *bustest.Conn) { b.Close() }, syscall.ECONNRESET, syscall.ECONNRESET},
		"CloseWrite of both": {func(a, b *bustest.Conn) { a.CloseWrite(); b.CloseWrite() }, io.EOF, syscall.EPIPE},
		"SetDeadline":        {func(a, _ *bustest.Conn) { a.SetDeadline(time.Now()) }, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe(t, bustest.WithBuffer(1))
				write(t, a, "x")
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() { readFails(t, a, tt.read) })
					wg.Go(func() { writeFails(t, a, tt.write) })
				}
				synctest.Wait()
				tt.end(a, b)
				wg.Wait()
			})
		})
	}
}

func TestAddrs(t *testing.T) {
	t.Parallel()
	x, y := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7946}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 7946}
	a, b := pipe(t, bustest.WithAddrs(x, y))
	if a.LocalAddr() != x || a.RemoteAddr() != y || b.LocalAddr() != y || b.RemoteAddr() != x {
		t.Errorf("a %v -> %v, b %v -> %v", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
	}
	a, _ = pipe(t)
	if l, r := a.LocalAddr(), a.RemoteAddr(); l.Network() != "pipe" || l.String() != "a" || r.String() != "b" {
		t.Errorf("default: %v -> %v", l, r)
	}
}

func TestBadOptionsPanic(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(){
		"WithBuffer": func() { bustest.WithBuffer(0) },
		"WithAddrs":  func() { bustest.WithAddrs(nil, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			f()
		}()
	}
}
