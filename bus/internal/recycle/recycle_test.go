package recycle

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

func needRecycling(t *testing.T) {
	if !Enabled {
		t.Skip("nothing is recycled under the race detector")
	}
}

// Memory comes back when nobody holds any of it, and only then.
func TestComesBack(t *testing.T) {
	needRecycling(t)
	m := New(1 << 20)
	t.Cleanup(m.End)
	where := func(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
	b := m.Get(64 << 10)
	first, part := where(b), b[1000:1001]
	b = nil // the part holds it
	m.Get(64 << 10)
	collectUntil(t, "what nobody holds did not come back", func() bool { return m.Kept() == 64<<10 })
	for range 3 {
		runtime.GC()
	}
	if m.Kept() != 64<<10 {
		t.Error("memory of which a part is held came back")
	}
	part[0] = 1
	part = nil
	collectUntil(t, "what nobody holds any more did not come back", func() bool { return m.Kept() == 128<<10 })
	again := [][]byte{m.Get(60 << 10), m.Get(64 << 10), m.Get(64 << 10)}
	if where(again[1]) != first && where(again[2]) != first || m.Kept() != 0 {
		t.Errorf("%#x is not used again; %d bytes are left", first, m.Kept())
	}
	runtime.KeepAlive(again)
	clear(again)
	collectUntil(t, "what was used again did not come back again", func() bool { return m.Kept() == 60<<10+128<<10 })
}

func TestLimit(t *testing.T) {
	needRecycling(t)
	m := New(100 << 10)
	t.Cleanup(m.End)
	var all [][]byte
	for range 40 {
		all = append(all, m.Get(16<<10))
	}
	all = append(all, m.Get(128<<10)) // as without a recycler
	runtime.KeepAlive(all)
	clear(all)
	collectUntil(t, "no six pieces came back", func() bool { return m.Kept() == 96<<10 })
	for range 3 {
		runtime.GC()
	}
	if n := m.Kept(); n != 96<<10 {
		t.Errorf("%d bytes are kept, of %d", n, m.limit)
	}
}

// What is not needed is left to the collector: sizes that nobody asks for, more
// of a size than is used at a time, and all when the bus has ended.
func TestForgets(t *testing.T) {
	needRecycling(t)
	synctest.Test(t, func(t *testing.T) {
		m := New(1 << 20)
		var shelves []*shelf
		take := func(size int) []byte {
			s, b := m.take(size)
			if s != nil && !slices.Contains(shelves, s) {
				shelves = append(shelves, s)
			}
			return b
		}
		back := func(size int) {
			for _, s := range shelves {
				m.put(s, make([]byte, size)) // only its own takes it
			}
		}
		take(32 << 10)
		take(64 << 10)
		back(32 << 10)
		back(64 << 10)
		back(64 << 10)
		back(128 << 10)
		if n := m.Kept(); n != 160<<10 {
			t.Errorf("%d bytes are kept of two sizes that were asked for", n)
		}
		time.Sleep(keptFor / 2)
		for range 3 {
			time.Sleep(keptFor)
			if take(64<<10) == nil {
				t.Error("what is in use was forgotten")
			}
			back(64 << 10)
		}
		if n := m.Kept(); n != 64<<10 {
			t.Errorf("%d bytes are kept of a size of which one is in use at a time", n)
		}
		time.Sleep(2*keptFor + 1)
		if n := m.Kept(); n != 0 || m.shelves != nil {
			t.Errorf("%d bytes are kept though nobody asks for any", n)
		}
		take(32 << 10)
		m.End()
		take(32 << 10)
		if back(32 << 10); m.Kept() != 0 {
			t.Error("memory is kept after the end")
		}
	})
}

func TestSizes(t *testing.T) {
	m := New(maxSize)
	t.Cleanup(m.End)
	for n := range 100 {
		for _, n := range []int{n, minSize + n, minSize + n*n*300, maxSize - n, maxSize + n} {
			b := m.Get(n)
			if size := roundUp(n); len(b) != n || cap(b) != n || size < n || size-n > n/8 {
				t.Fatalf("%d bytes: %d, with room for %d; rounded up to %d", n, len(b), cap(b), size)
			}
		}
	}
}
