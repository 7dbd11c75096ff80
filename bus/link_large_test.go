package bus_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// Large bodies and small messages that would each fill a link have about half of it
// each, however long the way and whatever a kernel holds of them.
func TestLargeBodyBesideFlood(t *testing.T) {
	for _, l := range []line{
		{rate: mbit(8), buffer: 256 << 10, delay: 20 * time.Millisecond},
		{rate: mbit(100), buffer: 256 << 10, delay: time.Millisecond},
		{rate: mbit(100), buffer: 4 << 20, delay: time.Millisecond},
		{rate: mbit(100), buffer: 8 << 20, delay: 200 * time.Millisecond},
	} {
		for _, size := range []int{1 << 20, 4 << 20, 16 << 20} {
			if int64(size) > int64(l.rate)*10 {
				continue // more than the line takes in time
			}
			t.Run(fmt.Sprintf("%d MiB at %d bytes a second, %d, %v", size>>20, l.rate, l.buffer, l.delay), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					sn := newLine(t, l)
					defer sn.close()
					for range 16 {
						consume(t, sn.bus(1), "sink", nothing)
					}
					consume(t, sn.bus(1), "large", nothing)
					stop := flood(sn.bus(0), "sink", 4, 1<<10)
					defer stop()
					time.Sleep(5 * time.Second)
					small := sn.bus(0).Stats().Settled
					begin := time.Now()
					if err := sn.bus(0).Send(t.Context(), "large", make([]byte, size)); err != nil {
						t.Error(err)
					}
					took := time.Since(begin)
					small = sn.bus(0).Stats().Settled - small
					alone := time.Duration(size) * time.Second / time.Duration(l.rate)
					held := time.Duration(l.buffer) * time.Second / time.Duration(l.rate)
					t.Logf("took %v, %v alone; %d small ones meanwhile", took, alone, small)
					if most := 3*alone + 2*held + 10*l.delay + 500*time.Millisecond; took > most {
						t.Errorf("a body of %d MiB took %v, more than %v", size>>20, took, most)
					}
					if share := float64(small<<10) / (took.Seconds() * float64(l.rate)); took > time.Second && share < 0.25 {
						t.Errorf("small messages had %.2f of the link meanwhile", share)
					}
				})
			})
		}
	}
}

// A large call returns by its deadline though the link takes no bytes, and what it
// was given may be used again then.
func TestLargeCallEndsByItsDeadlineOnAStuckLink(t *testing.T) {
	for _, stuck := range []time.Duration{0, 300 * time.Millisecond} {
		t.Run(fmt.Sprint("after ", stuck), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sn := newLine(t, line{delay: 10 * time.Millisecond})
				defer sn.close()
				consume(t, sn.bus(1), "x", nothing)
				body := make([]byte, 16<<20)
				time.AfterFunc(stuck, sn.end(0, 1).Stall)
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				begin := time.Now()
				_, err := sn.bus(0).Request(ctx, "x", body)
				clear(body)
				if took := time.Since(begin); took > 500*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("ended after %v: %v", took, err)
				}
				sn.end(0, 1).Resume()
				if _, err := sn.bus(0).Request(t.Context(), "x", body[:1<<20]); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

// The same on a socket, whose memory is the caller's: what is being written of it is
// let go of, and the stream stays whole.
func TestLargeCallEndsByItsDeadlineOnAStuckSocket(t *testing.T) {
	t.Parallel()
	eb := bus.New(quiet, bus.WithDrainTimeout(time.Second))
	t.Cleanup(func() { eb.Close() })
	attachment, err := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := sockets(t)
	go attachment.ServeLink(t.Context(), bus.Peer{Name: "n1", Boot: 2}, ours, nil) // ends with the socket
	say := func(frames ...*wire.Frame) {
		if _, err := theirs.Write(stream(t, frames...)); err != nil {
			t.Error(err)
		}
	}
	in := bufio.NewReader(theirs)
	hear := func(what func(f *wire.Frame) bool) {
		for !what(nextFrame(t, in)) {
		}
	}
	say(routesFrame(1, true, nil, out(1, 1<<20)))
	hear(func(f *wire.Frame) bool { return f.GetRoutesAck() != nil })
	body := bytes.Repeat([]byte("x"), 16<<20)
	done := make(chan time.Duration, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if err := eb.Send(ctx, "out", body); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		done <- time.Since(begin)
		clear(body)
	}()
	hear(func(f *wire.Frame) bool { return f.GetBulk() != nil })
	say(&wire.Frame{Kind: &wire.Frame_BulkGo{BulkGo: &wire.Chunk{Id: 1}}})
	acks := time.NewTicker(time.Millisecond) // it is the socket that is full, and the peer lives
	defer acks.Stop()
	for read := 0; ; {
		select {
		case <-acks.C:
			if read < 2<<20 {
				hear(func(f *wire.Frame) bool {
					n := len(f.GetChunk().GetData())
					read += n
					if n > 0 {
						say(&wire.Frame{Kind: &wire.Frame_ChunkAck{ChunkAck: &wire.Chunk{Id: 1, Bytes: uint64(n)}}})
					}
					return n > 0
				})
			} else {
				say(pingFrame)
			}
			continue
		case took := <-done:
			if took > 3*time.Second { // else it is some 5 s, when the write has had its time
				t.Errorf("ended after %v", took)
			}
		}
		break
	}
	go eb.Send(t.Context(), "out", []byte("afterwards"))
	reset := false
	hear(func(f *wire.Frame) bool {
		reset = reset || f.GetBulkReset() != nil
		return string(f.GetMsg().GetBody()) == "afterwards"
	})
	if !reset {
		t.Error("the body was not taken back")
	}
}

// nextFrame reads a frame.
func nextFrame(t *testing.T, in *bufio.Reader) *wire.Frame {
	t.Helper()
	tag, err := binary.ReadUvarint(in)
	if err != nil {
		t.Fatal(err)
	}
	size, err := binary.ReadUvarint(in)
	if err != nil {
		t.Fatal(err)
	}
	b := protowire.AppendVarint(protowire.AppendVarint(nil, tag), size)
	content := make([]byte, size)
	if _, err := io.ReadFull(in, content); err != nil {
		t.Fatal(err)
	}
	f := new(wire.Frame)
	if err := proto.Unmarshal(append(b, content...), f); err != nil || f.Kind == nil {
		t.Fatalf("a frame with tag %d of %d bytes: %v", tag, size, err)
	}
	return f
}

// sockets returns the two ends of a TCP connection with small buffers.
func sockets(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{a, b} {
		t.Cleanup(func() { c.Close() })
		_ = c.(*net.TCPConn).SetWriteBuffer(64 << 10)
		_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
	}
	return a, b
}
