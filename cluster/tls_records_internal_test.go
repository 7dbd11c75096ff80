package cluster

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// counting counts writes, and fails one of them.
type counting struct {
	net.Conn
	writes, fails int
}

var errTorn = errors.New("torn")

func (c *counting) Write(b []byte) (int, error) {
	if c.writes++; c.writes == c.fails {
		return 0, errTorn
	}
	return c.Conn.Write(b)
}

// securedPair returns both ends of a connection, and what is below the first.
func securedPair(t *testing.T) (*secured, *counting, *tls.Conn) {
	t.Helper()
	all, err := NewSecrets(testSecret).derive()
	if err != nil {
		t.Fatal(err)
	}
	setup, err := secretTLS(all)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	below := &counting{Conn: a}
	s, peer := secure(below, setup.forDial(alpnBus, "127.0.0.1:1"), tls.Client), tls.Server(b, setup.server)
	done := make(chan error, 1)
	go func() { done <- peer.HandshakeContext(t.Context()) }()
	if err := errors.Join(s.HandshakeContext(t.Context()), <-done); err != nil {
		t.Fatal(err)
	}
	below.writes = 0
	return s, below, peer
}

// The records of one write go together, whatever its size.
func TestRecordsGoTogether(t *testing.T) {
	t.Parallel()
	s, below, peer := securedPair(t)
	defer s.under.Close()
	for _, c := range []struct{ size, writes int }{{1, 1}, {recordMin, 1}, {recordMin + 1, 1}, {recordMax, 1}, {recordMax + 1, 1}, {3 * recordMax, 1}, {recordsMax, 1}, {256 << 10, 4}, {1 << 20, 16}, {100, 1}} {
		body := bytes.Repeat([]byte{byte(c.size >> 4)}, c.size)
		below.writes = 0
		sent := make(chan error, 1)
		go func() {
			n, err := s.Write(body)
			if err == nil && n != len(body) {
				err = io.ErrShortWrite
			}
			if err != nil {
				_ = s.under.Close() // nobody reads for ever
			}
			sent <- err
		}()
		got := make([]byte, c.size)
		_, err := io.ReadFull(peer, got)
		if err := errors.Join(err, <-sent); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes: %v", c.size, err)
		}
		if below.writes > c.writes {
			t.Errorf("%d bytes in %d writes, want %d", c.size, below.writes, c.writes)
		}
	}
	if s.under.buf != nil {
		t.Error("a buffer is kept")
	}
}

// Once a write has failed all do, even where the connection would take more: what
// came before may have torn a record.
func TestRecordsFailForGood(t *testing.T) {
	for _, size := range []int{recordMin, recordMin + 1, 2 * recordMax, 256 << 10} {
		s, below, peer := securedPair(t)
		go io.Copy(io.Discard, peer.NetConn())
		below.fails = 1
		for range 3 {
			if _, err := s.Write(make([]byte, size)); !errors.Is(err, errTorn) {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
		if below.writes > 1 {
			t.Errorf("%d bytes: %d writes", size, below.writes)
		}
		_ = s.under.Close()
	}
}

// Closing breaks a write that nobody reads, at once.
func TestCloseBreaksWrite(t *testing.T) {
	for _, size := range []int{recordMin, 3 * recordMax, 256 << 10} {
		synctest.Test(t, func(t *testing.T) {
			s, _, peer := securedPair(t)
			defer peer.NetConn().Close()
			sent := make(chan error, 1)
			go func() { _, err := s.Write(make([]byte, size)); sent <- err }()
			synctest.Wait() // it waits for the reader
			begin := time.Now()
			_ = s.Close()
			if err := <-sent; err == nil || time.Since(begin) > 0 {
				t.Errorf("%d bytes: the write ended after %v with %v", size, time.Since(begin), err)
			}
		})
	}
}
