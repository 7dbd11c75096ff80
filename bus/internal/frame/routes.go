package frame

import "google.golang.org/protobuf/encoding/protowire"

// Fields of Routes, and of what it adds.
const (
	routesSeq     = 1
	routesAdded   = 2
	routesRemoved = 3
	routesLast    = 4

	addedNumber    = 1
	addedAddress   = 2
	addedWindow    = 3
	addedPublished = 4
)

// Changes is what a ROUTES says.
type Changes struct {
	Last    bool
	added   []byte // as fields
	removed []byte // numbers, packed
}

// Add adds a route. A window of 0 stands for the usual one; published says that the
// route gets copies of a publish and nothing else.
func (c *Changes) Add(number uint32, address string, window uint64, published bool) {
	n := 1 + protowire.SizeVarint(uint64(number)) + lenField(len(address))
	if window != 0 {
		n += 1 + protowire.SizeVarint(window)
	}
	if published {
		n += 2
	}
	b := protowire.AppendVarint(append(c.added, routesAdded<<3|2), uint64(n))
	b = protowire.AppendVarint(append(b, addedNumber<<3), uint64(number))
	b = protowire.AppendString(append(b, addedAddress<<3|2), address)
	if window != 0 {
		b = protowire.AppendVarint(append(b, addedWindow<<3), window)
	}
	if published {
		b = append(b, addedPublished<<3, 1)
	}
	c.added = b
}

// Remove removes a route.
func (c *Changes) Remove(number uint32) { c.removed = AppendNumber(c.removed, number) }

// Len returns about how many bytes there are.
func (c *Changes) Len() int { return len(c.added) + len(c.removed) }

// Empty reports whether there is nothing to say.
func (c *Changes) Empty() bool { return c.Len() == 0 && !c.Last }

// Append appends the changes as a ROUTES.
func (c *Changes) Append(b []byte, seq uint64) []byte {
	f := append(protowire.AppendVarint([]byte{routesSeq << 3}, seq), c.added...)
	if len(c.removed) > 0 {
		f = protowire.AppendBytes(append(f, routesRemoved<<3|2), c.removed)
	}
	if c.Last {
		f = append(f, routesLast<<3, 1)
	}
	return protowire.AppendBytes(append(b, Routes<<3|2), f)
}

// AppendNumber appends to packed numbers.
func AppendNumber(packed []byte, n uint32) []byte {
	return protowire.AppendVarint(packed, uint64(n))
}
