package bustest_test

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus/bustest"
)

func TestStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, bustest.WithBuffer(10))
		write(t, a, "be")
		a.Stall()
		write(t, a, "fore")
		read(t, b, "be")
		silent(t, b)

		a.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := a.Write([]byte("0123456789")); n != 6 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Write = %d, %v, want 6 bytes until it is full", n, err)
		}
		write(t, b, "works")
		read(t, a, "works")

		a.Resume()
		read(t, b, "fore012345")
		a.SetWriteDeadline(time.Time{})
		write(t, a, "on")
		read(t, b, "on")
	})
}

func TestStallHoldsTheEnd(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		unread string
		want   error
	}{
		"end of stream": {"", io.EOF},
		"reset":         {"unread", syscall.ECONNRESET},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe(t)
				write(t, b, tt.unread)
				a.Stall()
				a.Close()
				silent(t, b)
				a.Resume()
				readFails(t, b, tt.want)
			})
		})
	}
}

// Input that is held back until after Close is unread input, too.
func TestResumeToClosedEndResets(t *testing.T) {
	t.Parallel()
	a, b := pipe(t)
	b.Stall()
	write(t, b, "late")
	a.Close()
	readFails(t, b, io.EOF)
	b.Resume()
	readFails(t, b, syscall.ECONNRESET)
}

func TestCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, bustest.WithBuffer(10))
		write(t, a, "before")
		a.Stall()
		write(t, a, "held")
		a.Cut()
		a.Resume()
		write(t, a, "much more than the buffer holds")
		read(t, b, "before")
		silent(t, b)
		write(t, b, "works")
		read(t, a, "works")
		a.Close()
		silent(t, b)
		write(t, b, "nobody says that nobody is there")
	})
}

func TestReset(t *testing.T) {
	t.Parallel()
	a, b := pipe(t)
	write(t, a, "lost")
	a.Cut()
	b.Stall()
	a.Reset()
	for _, c := range []*bustest.Conn{a, b} {
		readFails(t, c, syscall.ECONNRESET)
		writeFails(t, c, syscall.ECONNRESET)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, bustest.WithBuffer(10))
		delays := []time.Duration{30 * time.Millisecond, 10 * time.Millisecond, 0, 50 * time.Millisecond, 0}
		a.SetDelay(func() time.Duration {
			d := delays[0]
			delays = delays[1:]
			return d
		})
		start := time.Now()
		write(t, a, "one")
		write(t, a, "two") // sooner, but not before one
		write(t, a, "six")
		if err := a.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		write(t, b, "works")
		read(t, a, "works")
		if d := time.Since(start); d != 0 {
			t.Errorf("the other direction took %v", d)
		}
		synctest.Wait()
		time.AfterFunc(30*time.Millisecond, func() {
			synctest.Wait()
			read(t, b, "onetwosix")
		})
		time.Sleep(31 * time.Millisecond)
		readFails(t, b, io.EOF)
		if d := time.Since(start); d != 50*time.Millisecond {
			t.Errorf("the end came after %v, want 50ms", d)
		}
	})
}

// A network that draws its delays under a lock may hold that lock while it
// stalls and resumes its streams.
func TestDelayMayTakeALockThatFaultsAreMadeUnder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t)
		network := make(chan struct{}, 1) // a mutex that synctest sees
		delay := func() time.Duration {
			network <- struct{}{}
			defer func() { <-network }()
			return time.Millisecond
		}
		a.SetDelay(delay)
		b.SetDelay(delay)
		a.Stall()
		write(t, a, "for a closed end")
		b.Close()
		readFails(t, a, io.EOF)

		network <- struct{}{}
		var wg sync.WaitGroup
		wg.Go(func() { write(t, a, "more") })
		synctest.Wait() // it waits for its delay, and for that only
		a.Resume()
		<-network
		wg.Wait()
		time.Sleep(3 * time.Millisecond) // there, and back as late
		readFails(t, a, syscall.ECONNRESET)
	})
}

func TestDelayedBytesCountAgainstTheBuffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, bustest.WithBuffer(4))
		a.SetDelay(func() time.Duration { return time.Second })
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { write(t, a, "12345678") })
		buf := make([]byte, 8)
		if _, err := io.ReadFull(b, buf); err != nil || string(buf) != "12345678" {
			t.Fatalf("%q, %v", buf, err)
		}
		wg.Wait()
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("it took %v, want 2s: the second half must wait for room", d)
		}
	})
}

// Any mixture of calls ends, and leaves nothing that runs: synctest fails when
// a goroutine is left.
// At a rate bytes arrive little by little, at that rate, after their delay; a write
// waits for what the buffer does not take.
func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rate, size, buffer, delay = 100_000, 250_000, 50_000, 30 * time.Millisecond
		a, b := pipe(t, bustest.WithBuffer(buffer))
		a.SetRate(rate)
		a.SetDelay(func() time.Duration { return delay })
		begin := time.Now()
		written := make(chan time.Duration, 1)
		go func() {
			a.Write(make([]byte, size))
			written <- time.Since(begin)
		}()
		var first time.Duration
		for n, buf := 0, make([]byte, size); n < size; {
			k, err := b.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			n += k
			took := time.Since(begin)
			if first == 0 {
				first = took
			}
			if due := time.Duration(n)*time.Second/rate + delay; took < due-time.Millisecond || took > 2*due {
				t.Fatalf("%d bytes came after %v, at %d bytes a second", n, took, rate)
			}
		}
		if first > 100*time.Millisecond {
			t.Errorf("the first bytes came after %v", first)
		}
		if w := <-written; w < (size-buffer)*time.Second/rate {
			t.Errorf("%d bytes were written in %v, to a buffer of %d", size, w, buffer)
		}
		begin = time.Now()
		write(t, b, "back")
		read(t, a, "back")
		if took := time.Since(begin); took > 0 {
			t.Errorf("the other direction took %v", took)
		}
	})
}

func TestStress(t *testing.T) {
	t.Parallel()
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			a, b := pipe(t, bustest.WithBuffer(64))
			var wg sync.WaitGroup
			for _, c := range []*bustest.Conn{a, b} {
				c.SetDelay(func() time.Duration { return time.Millisecond })
				for range 4 {
					wg.Go(func() { io.Copy(io.Discard, c) })
					wg.Go(func() {
						for err := error(nil); err == nil; {
							_, err = c.Write(noise(100))
						}
					})
				}
				wg.Go(func() { c.SetDeadline(time.Now().Add(50 * time.Millisecond)) })
				wg.Go(func() { c.Stall(); time.Sleep(time.Millisecond); c.Resume() })
			}
			time.Sleep(20 * time.Millisecond)
			wg.Go(func() { a.Close() })
			wg.Go(func() { b.CloseWrite(); b.Reset() })
			wg.Wait()
		})
	}
}
