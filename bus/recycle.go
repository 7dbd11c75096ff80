package bus

import (
	"math/bits"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

const (
	recycledMin  = blockMax
	recycledMax  = 4 << 20
	recycledKept = 10 * time.Second // at least, without being asked for
)

// recycler hands out memory for bodies that are received. When the collector
// finds that nobody holds a piece any more it comes back, by its finalizer, to be
// handed out again: whoever keeps a body, or a part of one, keeps its memory. The
// less new memory a process needs, the less often it collects.
type recycler struct {
	limit int // bytes that are kept

	mu      sync.Mutex
	shelves map[int]*shelf // by size; of those that were asked for lately
	bytes   int            // in all of them
	timer   *time.Timer    // while there are any
	ended   bool
}

type shelf struct {
	free  []*recycled
	asked bool // since the timer was set
}

// recycled is a piece of memory. While it is handed out it is not known here.
type recycled struct {
	mem      []byte
	comeBack func(first *byte)
}

// get returns n bytes with undefined content.
func (r *recycler) get(n int) []byte {
	if !recycling || n < recycledMin || n > recycledMax {
		return make([]byte, n)
	}
	size := roundUp(n)
	p := r.take(size)
	if p == nil {
		p = r.make(size)
	}
	b := p.mem
	p.mem = nil
	runtime.SetFinalizer(&b[0], p.comeBack)
	return b[:n:n]
}

func (r *recycler) make(size int) *recycled {
	p := &recycled{mem: make([]byte, size)}
	p.comeBack = func(first *byte) {
		p.mem = unsafe.Slice(first, size)
		r.put(p)
	}
	return p
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

func (r *recycler) take(size int) *recycled {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.shelves[size]
	if s == nil {
		if s = r.addLocked(size); s == nil {
			return nil
		}
	}
	s.asked = true
	n := len(s.free) - 1
	if n < 0 {
		return nil
	}
	p := s.free[n]
	s.free[n] = nil
	s.free = s.free[:n]
	r.bytes -= size
	return p
}

func (r *recycler) addLocked(size int) *shelf {
	if r.ended {
		return nil
	}
	if r.shelves == nil {
		r.shelves = map[int]*shelf{}
		r.timer = time.AfterFunc(recycledKept, r.tidy)
	}
	s := &shelf{}
	r.shelves[size] = s
	return s
}

func (r *recycler) put(p *recycled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, size := r.shelves[len(p.mem)], len(p.mem)
	if s == nil || r.bytes+size > r.limit {
		return // to the collector
	}
	s.free = append(s.free, p)
	r.bytes += size
}

// tidy forgets the sizes that were not asked for since it ran last.
func (r *recycler) tidy() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for size, s := range r.shelves {
		if !s.asked {
			r.bytes -= size * len(s.free)
			delete(r.shelves, size)
		}
		s.asked = false
	}
	if len(r.shelves) > 0 {
		r.timer.Reset(recycledKept)
	} else {
		r.shelves = nil
	}
}

// end forgets all, for good.
func (r *recycler) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shelves != nil {
		r.timer.Stop()
	}
	r.shelves, r.bytes, r.ended = nil, 0, true
}
