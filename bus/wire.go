package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// The frames of the hot path are written and read by hand, in place; they are
// those of internal/wire/bus.proto. A frame is a Frame message that holds one
// field, so that tag, length and content delimit it.

// Field numbers of Frame.
const (
	frameMsg = 1 + iota
	frameReply
	frameCredit
	frameRoutes
	frameRoutesAck
	frameRoutesDone
	frameCancel
	frameBounce
	framePing
	framePong
	frameLeaving
	frameLeavingOK
	frameGoodbye
	frameChunk
	frameChunkAck
	frameBulk
	frameBulkGo
	frameBulkReset
	framePad
	frameRest
	frameHandover
	frameTime
)

// head is the numbers of a frame by field, from 1 to 8; zeros are not written.
type head [9]uint64

// Fields of head. Msg and Reply share them, where they have the same.
const (
	fKind     = 1 // of Msg
	fFailed   = 1 // of Reply
	fRoute    = 2
	fAsk      = 2 // of Reply
	fID       = 3 // of Msg, Reply, Cancel
	fBytes    = 3 // of Credit
	fSeq      = 3 // of RoutesAck
	fTimeLeft = 4 // of Msg, Reply
	fMessages = 4 // of Credit
	fResized  = 4 // of Rest
	fCodec    = 5 // of Msg, Reply
	fWindow   = 5 // of Credit, Rest
	fHops     = 7 // of Msg
	fCode     = 7 // of Reply
	fStarved  = 8
	fClock    = 1 // of Ping, Pong, Time
	fHeard    = 2 // of Pong
	fBulk     = 1 // of the frames of large bodies: which
	fSize     = 2 // of Bulk; of BulkGo, how much may come; of ChunkAck, how much has; of a refusal, the limit
	fFrame    = 3 // of Bulk: what it stands for
	fRefused  = 3 // of BulkReset: that it is a refusal, and why

	fieldHeaders   = 6
	fieldSkipped   = 9
	fieldCodecName = 10
	fieldAddress   = 11
	fieldBody      = 15
)

// Refusals of a large body.
const (
	refusedLarge = 1 // it is over the limit
	refusedLate  = 2 // it has not come in time
)

// maxChunk bounds the part of a large body in one frame.
const maxChunk = 1 << 20

// maxFrame bounds a frame: a body or a part of one, headers with their own encoding, numbers.
const maxFrame = maxChunk + 2*maxHeader + 16*maxHeaders + maxSkipped

// maxSkipped bounds the bytes of the numbers that a publish skips.
const maxSkipped = 64 << 10

// frame is a frame that has been read. Its slices point into the read buffer.
type frame struct {
	head
	header    Header
	skipped   []byte // packed
	codecName []byte
	address   []byte
	body      []byte

	headers, headerBytes int

	due int64 // its deadline, if it came in pieces
}

func lenField(n int) int { return 1 + protowire.SizeBytes(n) }

func sizeEntry(key, value string) int { return lenField(len(key)) + lenField(len(value)) }

func (h Header) wireSize() (n int) {
	for k, vs := range h {
		for _, v := range vs {
			n += lenField(sizeEntry(k, v))
		}
	}
	return n
}

func (h Header) append(b []byte) []byte {
	for k, vs := range h {
		for _, v := range vs {
			b = append(b, fieldHeaders<<3|2)
			b = protowire.AppendVarint(b, uint64(sizeEntry(k, v)))
			b = protowire.AppendString(append(b, 1<<3|2), k)
			b = protowire.AppendString(append(b, 2<<3|2), v)
		}
	}
	return b
}

// appendSkipped appends the numbers that a publish skips, as a field.
func appendSkipped(b, packed []byte) []byte {
	return protowire.AppendBytes(append(b, fieldSkipped<<3|2), packed)
}

// appendAddress appends the address of a handover to a codec's field.
func appendAddress(codec []byte, address string) []byte {
	return protowire.AppendString(append(slices.Clip(codec), fieldAddress<<3|2), address)
}

// appendCodecName appends the name of a codec, as a field.
func appendCodecName(b []byte, name string) []byte {
	return protowire.AppendString(append(b, fieldCodecName<<3|2), name)
}

// appendFrame appends a frame up to its body, of which only the length is
// written; the caller appends the body itself. The fields between the headers
// and the body are in rest, as they are written. Large bodies are aligned.
func appendFrame(b []byte, kind int, h *head, header Header, rest []byte, body int) []byte {
	n := 0
	for _, v := range h[1:] {
		if v != 0 {
			n += 1 + protowire.SizeVarint(v)
		}
	}
	if len(header) > 0 {
		n += header.wireSize()
	}
	n += len(rest)
	if body > 0 {
		n += lenField(body)
	}
	if body >= alignedBody {
		b = appendPad(b, len(b)+protowire.SizeTag(protowire.Number(kind))+protowire.SizeVarint(uint64(n))+n-body)
	}
	if kind < 16 {
		b = append(b, byte(kind<<3|2))
	} else {
		b = protowire.AppendVarint(b, uint64(kind)<<3|2)
	}
	b = appendFields(protowire.AppendVarint(b, uint64(n)), h, header, rest)
	if body > 0 {
		b = protowire.AppendVarint(append(b, fieldBody<<3|2), uint64(body))
	}
	return b
}

// appendFields appends the content of a frame but for its body.
func appendFields(b []byte, h *head, header Header, rest []byte) []byte {
	for i := 1; i < fieldHeaders; i++ {
		if h[i] != 0 {
			b = protowire.AppendVarint(append(b, byte(i<<3)), h[i])
		}
	}
	if len(header) > 0 {
		b = header.append(b)
	}
	for i := fieldHeaders + 1; i < len(h); i++ {
		if h[i] != 0 {
			b = protowire.AppendVarint(append(b, byte(i<<3)), h[i])
		}
	}
	if len(rest) > 0 {
		b = append(b, rest...)
	}
	return b
}

// errMalformed is what a peer may not say (rule 18).
var errMalformed = errors.New("malformed frame")

// nextFrame reads the tag and the length of the frame at the start of b: its
// kind, and where its content begins and ends. If more input is needed, end is
// 0 or more than len(b).
func nextFrame(b []byte) (kind, begin, end int, err error) {
	if len(b) < 2 {
		return 0, 0, 0, nil
	}
	tag, n := consumeVarint(b)
	if n <= 0 {
		return 0, 0, 0, incomplete(b)
	}
	if tag&7 != 2 || tag>>3 == 0 || tag>>3 > 1<<20 {
		return 0, 0, 0, fmt.Errorf("%w: tag %d", errMalformed, tag)
	}
	size, m := consumeVarint(b[n:])
	if m <= 0 {
		return 0, 0, 0, incomplete(b[n:])
	}
	if size > maxFrame {
		return 0, 0, 0, fmt.Errorf("%w: frame %d of %d bytes; the limit is %d", errMalformed, tag>>3, size, maxFrame)
	}
	return int(tag >> 3), n + m, n + m + int(size), nil
}

// incomplete tells a varint that goes on from one that is too long.
func incomplete(b []byte) error {
	if len(b) >= 10 {
		return errMalformed
	}
	return nil
}

// consumeVarint is small enough to be inlined for those of one byte.
func consumeVarint(b []byte) (uint64, int) {
	if len(b) == 0 || b[0] >= 0x80 {
		return longVarint(b)
	}
	return uint64(b[0]), 1
}

//go:noinline
func longVarint(b []byte) (uint64, int) { return protowire.ConsumeVarint(b) }

// parse reads the content of a frame. Unknown fields are skipped.
func (f *frame) parse(b []byte) error {
	missing, err := f.parsePart(b, len(b))
	if err == nil && missing != 0 {
		return errMalformed
	}
	return err
}

// parsePart reads the content of a frame of that size, of which b is the
// beginning. It returns how much of the body is missing, which is then the last
// field; -1 if b ends before.
func (f *frame) parsePart(b []byte, size int) (missing int, err error) {
	f.reset()
	for i := 0; i < len(b); {
		if i+1 < len(b) { // most fields: a tag and a number of a byte each
			if t, v := b[i], b[i+1]; t&7 == 0 && t >= 1<<3 && t < byte(len(f.head))<<3 && v < 0x80 {
				f.head[t>>3] = uint64(v)
				i += 2
				continue
			}
		}
		tag, n := consumeVarint(b[i:])
		if n <= 0 || tag>>3 == 0 {
			return cut(b, size)
		}
		i += n
		if tag&7 == 0 {
			v, n := consumeVarint(b[i:])
			if n <= 0 {
				return cut(b, size)
			}
			i += n
			switch {
			case tag>>3 < uint64(len(f.head)):
				f.head[tag>>3] = v
			case tag>>3 == fieldSkipped: // one by one
				f.skipped = protowire.AppendVarint(slices.Clip(f.skipped), v)
			}
			continue
		}
		if tag&7 != 2 {
			n := protowire.ConsumeFieldValue(protowire.Number(tag>>3), protowire.Type(tag&7), b[i:])
			if n < 0 {
				return cut(b, size)
			}
			i += n
			continue
		}
		l, n := consumeVarint(b[i:])
		if n <= 0 {
			return cut(b, size)
		}
		i += n
		switch {
		case l > uint64(size-i):
			return 0, errMalformed
		case tag>>3 == fieldBody && l > maxChunk:
			return 0, fmt.Errorf("%w: body of %d bytes in a frame; the limit is %d", errMalformed, l, maxChunk)
		case tag>>3 == fieldBody && l > uint64(len(b)-i) && l == uint64(size-i):
			f.body = b[i:]
			return int(l) - len(f.body), nil
		case l > uint64(len(b)-i):
			return cut(b, size)
		}
		v := b[i : i+int(l)]
		i += int(l)
		switch tag >> 3 {
		case fieldBody:
			f.body = v
		case fieldSkipped:
			if f.skipped != nil { // in parts
				v = slices.Concat(f.skipped, v)
			}
			f.skipped = v
		case fieldCodecName:
			f.codecName = v
		case fieldAddress:
			f.address = v
		case fieldHeaders:
			if err := f.addHeader(v); err != nil {
				return 0, err
			}
		}
	}
	return len(b) - size, nil // 0 if it is whole
}

// reset empties f. Pointers are only written where there are some: while the
// collector runs each such write is work for it.
func (f *frame) reset() {
	f.head = head{}
	f.headers, f.headerBytes, f.due = 0, 0, 0
	if f.header != nil {
		f.header = nil
	}
	if f.skipped != nil {
		f.skipped = nil
	}
	if f.codecName != nil {
		f.codecName = nil
	}
	if f.address != nil {
		f.address = nil
	}
	if f.body != nil {
		f.body = nil
	}
}

// cut is what reading says that came to the end of b within a field.
func cut(b []byte, size int) (missing int, err error) {
	if len(b) < size {
		return -1, nil
	}
	return 0, errMalformed
}

func (f *frame) addHeader(b []byte) error {
	var key, value string
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if typ != protowire.BytesType || num > 2 {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return errMalformed
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if num == 1 {
			key = strings.ToLower(string(v))
		} else {
			value = string(v)
		}
	}
	f.headers++
	f.headerBytes += len(key) + len(value)
	if f.headers > maxHeaders || f.headerBytes > maxHeader {
		return fmt.Errorf("%w: more than %d headers or %d bytes of them", errMalformed, maxHeaders, maxHeader)
	}
	if f.header == nil {
		f.header = Header{}
	}
	f.header[key] = append(f.header[key], value)
	return nil
}

// numbers reads a packed field.
func numbers(b []byte) ([]uint32, error) {
	var ns []uint32
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 || v > 1<<32-1 {
			return nil, errMalformed
		}
		ns = append(ns, uint32(v))
		b = b[n:]
	}
	return ns, nil
}
