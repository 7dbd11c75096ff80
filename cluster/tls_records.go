package cluster

import (
	"crypto/tls"
	"net"
	"sync"
)

// A TLS record has at most 16 KiB, on a new connection less, and crypto/tls writes
// each by itself. What the bus writes at once is up to 256 KiB: its records go to
// the kernel together, so that they pass through TCP, and wake the reader, a
// quarter as often.

const (
	recordMin  = 1 << 10  // bytes that always fit one
	recordMax  = 16 << 10 // bytes in one
	recordsMax = 64 << 10 // from which on what is gathered is written
)

// recordBuffers are of recordsMax and a record; a stream has one while it writes.
var recordBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, recordsMax+recordMax+512)
	return &b
}}

// records is a connection below TLS. It gathers what is written between hold and
// flush. After a write that failed, all do: a record may be torn.
type records struct {
	net.Conn

	mu  sync.Mutex
	buf *[]byte // nil: what is written goes at once
	err error
}

// Write is called by TLS.
func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buf == nil {
		return r.writeLocked(b)
	}
	if *r.buf = append(*r.buf, b...); len(*r.buf) < recordsMax {
		return len(b), nil
	}
	if err := r.emptyLocked(); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (r *records) writeLocked(b []byte) (n int, err error) {
	if r.err == nil {
		n, r.err = r.Conn.Write(b)
	}
	return n, r.err
}

func (r *records) hold() {
	r.mu.Lock()
	r.buf = recordBuffers.Get().(*[]byte)
	r.mu.Unlock()
}

func (r *records) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.emptyLocked()
	recordBuffers.Put(r.buf)
	r.buf = nil
	return err
}

// emptyLocked writes what is gathered.
func (r *records) emptyLocked() error {
	if len(*r.buf) > 0 {
		_, _ = r.writeLocked(*r.buf) // it stays in err
		*r.buf = (*r.buf)[:0]
	}
	return r.err
}

// secured is a stream over TLS.
type secured struct {
	*tls.Conn
	under *records
	mu    sync.Mutex // held while writing
}

// secure puts one side of TLS, tls.Client or tls.Server, onto c.
func secure(c net.Conn, conf *tls.Config, side func(net.Conn, *tls.Config) *tls.Conn) *secured {
	under := &records{Conn: c}
	return &secured{Conn: side(under, conf), under: under}
}

// Write writes b, in as many records as it needs.
func (s *secured) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b) <= recordMin {
		return s.Conn.Write(b)
	}
	s.under.hold()
	n, err := s.Conn.Write(b)
	if ferr := s.under.flush(); err == nil && ferr != nil {
		return 0, ferr
	}
	return n, err
}

// Close closes the connection. Like that of crypto/tls it breaks a write that is
// under way, instead of waiting to say farewell behind it.
func (s *secured) Close() error {
	if !s.mu.TryLock() {
		return s.under.Close()
	}
	defer s.mu.Unlock()
	return s.Conn.Close()
}
