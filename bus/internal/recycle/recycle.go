// Package recycle uses the memory of received bodies again.
package recycle

import (
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"
)

// BlockSize is how many bytes a block of small bodies has.
const BlockSize = 4 << 10

const (
	minSize = BlockSize
	maxSize = 4 << 20
	keptFor = 10 * time.Second // at least, without being needed
)

// Memory hands out memory for bodies that are received. When the collector
// finds that nobody holds a piece any more it comes back, by its finalizer, to be
// handed out again: whoever keeps a body, or a part of one, keeps its memory. The
// less new memory a process needs, the less often it collects.
//
// It must not lead to a bus: a finalizer keeps what it refers to, and so a body
// that somebody keeps would.
type Memory struct {
	limit int // bytes that are kept

	mu      sync.Mutex     // the last that is taken, also by finalizers
	shelves map[int]*shelf // by size; of those that were asked for lately
	bytes   int            // in all of them
	timer   *time.Timer    // while there are any
	ended   bool
}

// shelf is pieces of one size.
type shelf struct {
	free     [][]byte
	least    int // that were free at a time since the timer was set
	asked    bool
	comeBack func(first *byte)
}

// New returns a Memory that keeps so many bytes at most.
func New(limit int) *Memory { return &Memory{limit: limit} }

// Get returns n bytes with undefined content.
func (m *Memory) Get(n int) []byte {
	size := roundUp(n)
	if !Enabled || n < minSize || size > min(maxSize, m.limit) {
		return make([]byte, n)
	}
	s, b := m.take(size)
	if s == nil {
		return make([]byte, n)
	}
	if b == nil {
		b = make([]byte, size)
	}
	runtime.SetFinalizer(&b[0], s.comeBack)
	return b[:n:n]
}

// Copy returns a copy of b.
func (m *Memory) Copy(b []byte) []byte {
	if len(b) < minSize {
		return append([]byte(nil), b...)
	}
	to := m.Get(len(b))
	copy(to, b)
	return to
}

// Block returns a copy of small bodies, at most BlockSize bytes, which share it.
func (m *Memory) Block(b []byte) []byte {
	if len(b) < BlockSize/2 {
		return append([]byte(nil), b...)
	}
	to := m.Get(BlockSize)[:len(b)]
	copy(to, b)
	return to
}

// roundUp wastes an eighth at most.
func roundUp(n int) int {
	step := 1 << max(bits.Len(uint(n-1))-4, 0)
	return (n + step - 1) &^ (step - 1)
}

// take returns the shelf for a size, nil after the end, and a piece if it has one.
func (m *Memory) take(size int) (*shelf, []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return nil, nil
	}
	s := m.shelves[size]
	if s == nil {
		s = m.addLocked(size)
	}
	s.asked = true
	n := len(s.free) - 1
	if n < 0 {
		return s, nil
	}
	b := s.free[n]
	s.free[n] = nil
	s.free = s.free[:n]
	s.least = min(s.least, n)
	m.bytes -= size
	return s, b
}

func (m *Memory) addLocked(size int) *shelf {
	if m.shelves == nil {
		m.shelves = map[int]*shelf{}
		m.timer = time.AfterFunc(keptFor, m.tidy)
	}
	s := &shelf{}
	s.comeBack = func(first *byte) { m.put(s, unsafe.Slice(first, size)) }
	m.shelves[size] = s
	return s
}

func (m *Memory) put(s *shelf, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shelves[len(b)] == s && m.bytes+len(b) <= m.limit { // else the collector has it
		s.free = append(s.free, b)
		m.bytes += len(b)
	}
}

// tidy leaves to the collector what nobody needed since it ran last.
func (m *Memory) tidy() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for size, s := range m.shelves {
		if !s.asked {
			s.least = len(s.free)
			delete(m.shelves, size)
		}
		m.bytes -= size * s.least
		s.free = slices.Delete(s.free, 0, s.least)
		s.least, s.asked = len(s.free), false
	}
	if len(m.shelves) > 0 {
		m.timer.Reset(keptFor)
	} else {
		m.shelves, m.timer = nil, nil
	}
}

// End forgets all, for good.
func (m *Memory) End() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.timer != nil {
		m.timer.Stop()
	}
	m.shelves, m.bytes, m.timer, m.ended = nil, 0, nil, true
}

// Kept returns how many bytes are kept to be used again.
func (m *Memory) Kept() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}
