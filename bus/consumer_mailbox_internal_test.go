package bus

import "testing"

// A batch, which keeps what is handled until it ends, is small.
func TestBatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		charge, waiting, n, want int
	}{
		{charge: 256, waiting: 10, n: -1, want: 10},
		{charge: 256, waiting: 10, n: 3, want: 3},
		{charge: 256, waiting: 1000, n: -1, want: batchMax},
		{charge: 15 << 10, waiting: 1000, n: -1, want: 4},
		{charge: batchBytes, waiting: 2, n: -1, want: 1},
		{charge: 1 << 20, waiting: 3, n: -1, want: 1},
		{charge: 1 << 20, waiting: 0, n: -1, want: 0},
	} {
		b := &mailbox{}
		for range c.waiting {
			b.push(&Message{cost: uint32(c.charge)})
		}
		if b.claim(c.n); b.taken != c.want || b.len() != c.waiting-c.want {
			t.Errorf("%d of %d messages of %d bytes, %d wait", b.taken, c.waiting, c.charge, b.len())
		}
	}
}
