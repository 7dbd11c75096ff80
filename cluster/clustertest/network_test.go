package clustertest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
)

var (
	a = netip.MustParseAddr("10.0.0.1")
	b = netip.MustParseAddr("10.0.0.2")
)

// open listens at port 1 of a host.
func open(t *testing.T, n *clustertest.Network, ip netip.Addr) (net.Listener, cluster.PacketConn) {
	t.Helper()
	l, p, err := n.Host(ip).Listen(t.Context(), netip.AddrPortFrom(ip, 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.Close(), p.Close() })
	return l, p
}

// dial opens a stream from a to b's port 1 and accepts it.
func dial(t *testing.T, n *clustertest.Network, l net.Listener) (near, far net.Conn) {
	t.Helper()
	near, err := n.Host(a).Dial(t.Context(), netip.Addr{}, netip.AddrPortFrom(b, 1))
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// arrives reports whether a byte written to one end is read at the other within a
// second.
func arrives(t *testing.T, from, to net.Conn) bool {
	t.Helper()
	if _, err := from.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	_ = to.SetReadDeadline(time.Now().Add(time.Second))
	_, err := io.ReadFull(to, make([]byte, 1))
	return err == nil
}

func TestStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := clustertest.NewNetwork(1)
		l, _ := open(t, n, b)
		near, far := dial(t, n, l)
		if near.RemoteAddr().String() != "10.0.0.2:1" || far.LocalAddr().String() != "10.0.0.2:1" || near.LocalAddr().String() != far.RemoteAddr().String() {
			t.Errorf("addresses %v-%v and %v-%v", near.LocalAddr(), near.RemoteAddr(), far.LocalAddr(), far.RemoteAddr())
		}
		if !arrives(t, near, far) || !arrives(t, far, near) {
			t.Error("a byte did not arrive")
		}

		n.Block(a, b)
		if arrives(t, near, far) || !arrives(t, far, near) {
			t.Error("the block is not one way")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := n.Host(b).Dial(ctx, netip.Addr{}, netip.AddrPortFrom(a, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("dial through a block: %v", err)
		}
		n.Heal()
		_ = far.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
			t.Errorf("what was held up: %v", err)
		}

		n.Cut(b, a)
		if arrives(t, far, near) || !arrives(t, near, far) {
			t.Error("the cut is not one way")
		}
		again, farAgain := dial(t, n, l)
		if !arrives(t, again, farAgain) {
			t.Error("a new stream is cut too")
		}
		n.Reset(b, a)
		if _, err := again.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after a reset: %v", err)
		}

		last, farLast := dial(t, n, l)
		n.PowerOff(b)
		if arrives(t, last, farLast) {
			t.Error("a host without power hears")
		}
		if _, err := n.Host(a).Dial(t.Context(), netip.Addr{}, netip.AddrPortFrom(b, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial to a closed port: %v", err)
		}
	})
}

func TestPorts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := clustertest.NewNetwork(1)
		l, _ := open(t, n, b)
		if _, _, err := n.Host(b).Listen(t.Context(), netip.AddrPortFrom(b, 1)); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second listen: %v", err)
		}
		if _, _, err := n.Host(b).Listen(t.Context(), netip.AddrPortFrom(a, 1)); err == nil {
			t.Error("listens at the address of another host")
		}
		near, _ := dial(t, n, l)
		n.Kill(b)
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after a kill: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after a kill: %v", err)
		}
		open(t, n, b) // a new process
	})
}

// received counts the packets of 1000 that arrive at b, and those that arrive
// before one that was sent earlier.
func received(t *testing.T, n *clustertest.Network, from, at cluster.PacketConn) (count, late int) {
	t.Helper()
	for i := range 1000 {
		if _, err := from.WriteToUDPAddrPort([]byte{byte(i >> 8), byte(i)}, netip.AddrPortFrom(b, 1)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	done := make(chan struct{})
	go func() { // ends with the marker
		defer close(done)
		last := -1
		for {
			buf := make([]byte, 10)
			k, source, err := at.ReadFromUDPAddrPort(buf)
			if err != nil || k == 1 {
				return
			}
			if source != netip.AddrPortFrom(a, 1) {
				t.Errorf("a packet comes from %v", source)
			}
			seq := int(buf[0])<<8 | int(buf[1])
			if seq < last {
				late++
			}
			last = max(last, seq)
			count++
		}
	}()
	n.SetLoss(0)
	n.SetDuplicates(0)
	n.Heal()
	_, _ = from.WriteToUDPAddrPort([]byte{1}, netip.AddrPortFrom(b, 1))
	<-done
	return count, late
}

func TestPackets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := clustertest.NewNetwork(1)
		_, from := open(t, n, a)
		_, at := open(t, n, b)
		if count, late := received(t, n, from, at); count != 1000 || late == 0 {
			t.Errorf("%d of 1000 arrived, %d late", count, late)
		}
		n.SetLoss(0.3)
		if count, _ := received(t, n, from, at); count < 600 || count > 800 {
			t.Errorf("%d of 1000 arrived with a loss of 0.3", count)
		}
		n.SetDuplicates(0.02)
		if count, _ := received(t, n, from, at); count <= 1000 {
			t.Errorf("%d of 1000 arrived with duplicates", count)
		}
		n.Block(b, a)
		if count, _ := received(t, n, from, at); count != 1000 {
			t.Errorf("%d of 1000 arrived against a block of the other way", count)
		}
		n.Partition([]netip.Addr{a})
		if count, _ := received(t, n, from, at); count != 0 {
			t.Errorf("%d of 1000 arrived through a partition", count)
		}
	})
}

// A host that is paused hears nothing and says nothing until it goes on; then it
// gets all that had waited, in order.
func TestPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := clustertest.NewNetwork(1)
		l, at := open(t, n, b)
		near, far := dial(t, n, l)
		_, from := open(t, n, a)
		n.Pause(b)
		if _, err := near.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Write([]byte("y")); err != nil {
			t.Fatal(err)
		}
		_ = near.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read from a host that is paused: %v", err)
		}
		if late, _ := dial(t, n, l); late == nil {
			t.Error("a dial did not succeed")
		}
		_, _ = from.WriteToUDPAddrPort([]byte{1}, netip.AddrPortFrom(b, 1))
		n.Heal() // is about something else
		_ = far.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read at a host that is paused: %v", err)
		}
		n.Resume(b)
		_ = far.SetReadDeadline(time.Time{})
		_ = near.SetReadDeadline(time.Time{})
		for _, end := range []net.Conn{near, far} {
			if _, err := end.Read(make([]byte, 1)); err != nil {
				t.Errorf("read after the pause: %v", err)
			}
		}
		if _, _, err := at.ReadFromUDPAddrPort(make([]byte, 1)); err != nil { // a deadlock, if it was lost
			t.Errorf("packet after the pause: %v", err)
		}
	})
}
