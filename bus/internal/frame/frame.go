// Package frame writes and reads the frames of a link in place: those of
// internal/wire/bus.proto, by hand, as the hot path does. A frame is a Frame message
// that holds one field, so that tag, length and content delimit it.
package frame

import "math"

// The kinds of frames: field numbers of Frame.
const (
	Msg = 1 + iota
	Reply
	Credit
	Routes
	RoutesAck
	RoutesDone
	Cancel
	Bounce
	Ping
	Pong
	Leaving
	LeavingOK
	Goodbye
	Chunk
	ChunkAck
	Bulk
	BulkGo
	BulkReset
	Pad
	Rest
	Handover
	Time
)

// Head is the numbers of a frame by field, from 1 to 9; zeros are not written. What a
// number means depends on the kind of the frame: each meaning has a name for
// writing it, and a method for reading it.
type Head [10]uint64

// Fields of Head.
const (
	FKind     = 1 // of Msg
	FFailed   = 1 // of Reply
	FRoute    = 2
	FAsk      = 2 // of Reply
	FID       = 3 // of Msg, Reply, Cancel
	FBytes    = 3 // of Credit
	FSeq      = 3 // of RoutesAck
	FTimeLeft = 4 // of Msg, Reply
	FMessages = 4 // of Credit
	FResized  = 4 // of Rest
	FCodec    = 5 // of Msg, Reply
	FWindow   = 5 // of Credit, Rest
	FHops     = 7 // of Msg
	FCode     = 7 // of Reply, by Zigzag
	FStarved  = 8 // of Msg
	FChoice   = 9 // of Msg
	FClock    = 1 // of Ping, Pong, Time
	FHeard    = 2 // of Pong
	FBulk     = 1 // of the frames of large bodies: which
	FSize     = 2 // of Bulk; of BulkGo, how much may come; of ChunkAck, how much has; of a refusal, the limit
	FFrame    = 3 // of Bulk: the kind of frame that it stands for
	FRefused  = 3 // of BulkReset: that it is a refusal, and why
)

// What the fields of a head hold: see their names.

func (h *Head) Kind() uint64     { return h[FKind] }
func (h *Head) Failed() bool     { return h[FFailed] != 0 }
func (h *Head) Route() uint64    { return h[FRoute] }
func (h *Head) Ask() uint64      { return h[FAsk] }
func (h *Head) ID() uint64       { return h[FID] }
func (h *Head) Bytes() uint64    { return h[FBytes] }
func (h *Head) Seq() uint64      { return h[FSeq] }
func (h *Head) TimeLeft() uint64 { return h[FTimeLeft] }
func (h *Head) Messages() uint64 { return h[FMessages] }
func (h *Head) Resized() uint64  { return h[FResized] }
func (h *Head) Codec() uint64    { return h[FCodec] }
func (h *Head) Window() uint64   { return h[FWindow] }
func (h *Head) Hops() uint64     { return h[FHops] }
func (h *Head) Code() int        { return unzigzag(h[FCode]) }
func (h *Head) Starved() bool    { return h[FStarved] != 0 }
func (h *Head) Choice() uint64   { return h[FChoice] }
func (h *Head) Clock() uint64    { return h[FClock] }
func (h *Head) Heard() uint64    { return h[FHeard] }
func (h *Head) Bulk() uint64     { return h[FBulk] }
func (h *Head) Size() uint64     { return h[FSize] }
func (h *Head) StandsFor() int   { return int(h[FFrame]) }
func (h *Head) Refused() uint64  { return h[FRefused] }

// Header is what a message has beside its body: values by key.
type Header = map[string][]string

// Refusals of a large body.
const (
	RefusedLarge = 1 // it is over the limit
	RefusedLate  = 2 // it has not come in time
)

// Fields that are no numbers, or many.
const (
	fieldHeaders   = 6
	fieldSkipped   = 10
	fieldCodecName = 11
	fieldAddress   = 12
	fieldDetails   = 13
	fieldBody      = 15
)

const (
	MaxChunk   = 1 << 20  // bytes of a large body in one frame
	MaxSkipped = 64 << 10 // bytes of the numbers that a publish skips
	MaxHeader  = 16 << 10 // bytes of keys and values of one message
	MaxHeaders = 1 << 10  // values of one message

	// MaxSize bounds a frame: a body or a part of one, headers with their own
	// encoding, numbers.
	MaxSize = MaxChunk + 2*MaxHeader + 16*MaxHeaders + MaxSkipped
)

// Zigzag returns the code of a reply as a number, small where the code is near 0.
func Zigzag(code int) uint64 { return uint64(int64(code)<<1) ^ uint64(int64(code)>>63) }

// unzigzag gives a code that does not fit an int here, of 32 bits, as the nearest
// that does, so that none becomes another handler's code.
func unzigzag(v uint64) int {
	return int(min(max(int64(v>>1)^-int64(v&1), math.MinInt), math.MaxInt))
}
