package frame

import "google.golang.org/protobuf/encoding/protowire"

// A large body begins at a multiple of Alignment in its write, and a write of so
// many bytes, or one between the chunks of a body, ends at a multiple. The kernel
// then copies between addresses that agree in their last bits, which some
// processors do twice as fast.
//
// The ends are there because Linux puts what a thread sends into pieces of
// memory, mostly of 32 KiB, each write behind the one before. A thread that has
// written something else finds back, within a second of full speed: where a write
// ends less than 32 bytes before the end of its piece, the next begins a new one
// (sk_page_frag_refill in net/core/sock.c). Hence not more than 16.
const (
	Alignment   = 16
	AlignedBody = 8 << 10 // bytes of a body from which on it is aligned
)

// AppendPad appends a frame without a meaning, so that what is n bytes into its
// write is aligned then.
func AppendPad(b []byte, n int) []byte {
	const least = 3 // bytes of a frame
	gap := -n & (Alignment - 1)
	if gap == 0 {
		return b
	}
	if gap < least {
		gap += Alignment
	}
	b = append(protowire.AppendVarint(b, Pad<<3|2), byte(gap-least))
	return append(b, make([]byte, gap-least)...)
}
