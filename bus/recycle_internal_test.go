package bus

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// collectUntil collects until ok holds.
func collectUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal(what)
		}
		runtime.GC()
		runtime.Gosched() // the finalizers' goroutine
	}
}

func (r *recycler) kept() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

func needRecycling(t *testing.T) {
	if !recycling {
		t.Skip("nothing is recycled under the race detector")
	}
}

// Memory comes back when nobody holds any of it, and only then.
func TestRecycler(t *testing.T) {
	needRecycling(t)
	r := &recycler{limit: 1 << 20}
	t.Cleanup(r.end)
	where := func(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
	b := r.get(64 << 10)
	first, part := where(b), b[1000:1001]
	b = nil // the part holds it
	r.get(64 << 10)
	collectUntil(t, "what nobody holds did not come back", func() bool { return r.kept() == 64<<10 })
	for range 3 {
		runtime.GC()
	}
	if r.kept() != 64<<10 {
		t.Error("memory of which a part is held came back")
	}
	part[0] = 1
	part = nil
	collectUntil(t, "what nobody holds any more did not come back", func() bool { return r.kept() == 128<<10 })
	again := [][]byte{r.get(60 << 10), r.get(64 << 10), r.get(64 << 10)}
	if where(again[1]) != first && where(again[2]) != first || r.kept() != 0 {
		t.Errorf("%#x is not used again; %d bytes are left", first, r.kept())
	}
	runtime.KeepAlive(again)
	clear(again)
	collectUntil(t, "what was used again did not come back again", func() bool { return r.kept() == 60<<10+128<<10 })
}

func TestRecyclerLimit(t *testing.T) {
	needRecycling(t)
	r := &recycler{limit: 100 << 10}
	t.Cleanup(r.end)
	var all [][]byte
	for range 40 {
		all = append(all, r.get(16<<10))
	}
	all = append(all, r.get(128<<10)) // as without a recycler
	runtime.KeepAlive(all)
	clear(all)
	collectUntil(t, "no six pieces came back", func() bool { return r.kept() == 96<<10 })
	for range 3 {
		runtime.GC()
	}
	if n := r.kept(); n != 96<<10 {
		t.Errorf("%d bytes are kept, of %d", n, r.limit)
	}
}

// What is not needed is left to the collector: sizes that nobody asks for, more
// of a size than is used at a time, and all when the bus has ended.
func TestRecyclerForgets(t *testing.T) {
	needRecycling(t)
	synctest.Test(t, func(t *testing.T) {
		r := &recycler{limit: 1 << 20}
		var shelves []*shelf
		take := func(size int) []byte {
			s, b := r.take(size)
			if s != nil && !slices.Contains(shelves, s) {
				shelves = append(shelves, s)
			}
			return b
		}
		back := func(size int) {
			for _, s := range shelves {
				r.put(s, make([]byte, size)) // only its own takes it
			}
		}
		take(32 << 10)
		take(64 << 10)
		back(32 << 10)
		back(64 << 10)
		back(64 << 10)
		back(128 << 10)
		if n := r.kept(); n != 160<<10 {
			t.Errorf("%d bytes are kept of two sizes that were asked for", n)
		}
		time.Sleep(recycledKept / 2)
		for range 3 {
			time.Sleep(recycledKept)
			if take(64<<10) == nil {
				t.Error("what is in use was forgotten")
			}
			back(64 << 10)
		}
		if n := r.kept(); n != 64<<10 {
			t.Errorf("%d bytes are kept of a size of which one is in use at a time", n)
		}
		time.Sleep(2*recycledKept + 1)
		if n := r.kept(); n != 0 || r.shelves != nil {
			t.Errorf("%d bytes are kept though nobody asks for any", n)
		}
		take(32 << 10)
		r.end()
		take(32 << 10)
		if back(32 << 10); r.kept() != 0 {
			t.Error("memory is kept after the end")
		}
	})
}

func TestRecyclerSizes(t *testing.T) {
	r := &recycler{limit: recycledMax}
	t.Cleanup(r.end)
	for n := range 100 {
		for _, n := range []int{n, recycledMin + n, recycledMin + n*n*300, recycledMax - n, recycledMax + n} {
			b := r.get(n)
			if size := roundUp(n); len(b) != n || cap(b) != n || size < n || size-n > n/8 {
				t.Fatalf("%d bytes: %d, with room for %d; rounded up to %d", n, len(b), cap(b), size)
			}
		}
	}
}
