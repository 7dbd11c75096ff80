package bus

import (
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"
)

const (
	recycledMin  = blockMax
	recycledMax  = 4 << 20
	recycledKept = 10 * time.Second // at least, without being needed
)

// recycler hands out memory for bodies that are received. When the collector
// finds that nobody holds a piece any more it comes back, by its finalizer, to be
// handed out again: whoever keeps a body, or a part of one, keeps its memory. The
// less new memory a process needs, the less often it collects.
//
// It must not lead to the bus: a finalizer keeps what it refers to, and so a body
// that somebody keeps would.
type recycler struct {
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

// get returns n bytes with undefined content.
func (r *recycler) get(n int) []byte {
	size := roundUp(n)
	if !recycling || n < recycledMin || size > min(recycledMax, r.limit) {
		return make([]byte, n)
	}
	s, b := r.take(size)
	if s == nil {
		return make([]byte, n)
	}
	if b == nil {
		b = make([]byte, size)
	}
	runtime.SetFinalizer(&b[0], s.comeBack)
	return b[:n:n]
}

// copy returns a copy of b.
func (r *recycler) copy(b []byte) []byte {
	if len(b) < recycledMin {
		return append([]byte(nil), b...)
	}
	to := r.get(len(b))
	copy(to, b)
	return to
}

// block returns a copy of small bodies, which share it.
func (r *recycler) block(b []byte) []byte {
	if len(b) < blockMax/2 {
		return append([]byte(nil), b...)
	}
	to := r.get(blockMax)[:len(b)]
	copy(to, b)
	return to
}

// roundUp wastes an eighth at most.
func roundUp(n int) int {
	step := 1 << max(bits.Len(uint(n-1))-4, 0)
	return (n + step - 1) &^ (step - 1)
}

// take returns the shelf for a size, nil after the end, and a piece if it has one.
func (r *recycler) take(size int) (*shelf, []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, nil
	}
	s := r.shelves[size]
	if s == nil {
		s = r.addLocked(size)
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
	r.bytes -= size
	return s, b
}

func (r *recycler) addLocked(size int) *shelf {
	if r.shelves == nil {
		r.shelves = map[int]*shelf{}
		r.timer = time.AfterFunc(recycledKept, r.tidy)
	}
	s := &shelf{}
	s.comeBack = func(first *byte) { r.put(s, unsafe.Slice(first, size)) }
	r.shelves[size] = s
	return s
}

func (r *recycler) put(s *shelf, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shelves[len(b)] == s && r.bytes+len(b) <= r.limit { // else the collector has it
		s.free = append(s.free, b)
		r.bytes += len(b)
	}
}

// tidy leaves to the collector what nobody needed since it ran last.
func (r *recycler) tidy() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for size, s := range r.shelves {
		if !s.asked {
			s.least = len(s.free)
			delete(r.shelves, size)
		}
		r.bytes -= size * s.least
		s.free = slices.Delete(s.free, 0, s.least)
		s.least, s.asked = len(s.free), false
	}
	if len(r.shelves) > 0 {
		r.timer.Reset(recycledKept)
	} else {
		r.shelves, r.timer = nil, nil
	}
}

// end forgets all, for good.
func (r *recycler) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
	r.shelves, r.bytes, r.timer, r.ended = nil, 0, nil, true
}
