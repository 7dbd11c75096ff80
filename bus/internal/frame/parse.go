package frame

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Frame is a frame that has been read. Its slices point into the read buffer.
type Frame struct {
	Head
	Header    Header // keys are in lower case
	Skipped   []byte // the numbers that a publish skips: see Numbers
	CodecName []byte
	Address   []byte
	Details   []byte // of an error
	Body      []byte

	// Due is the deadline of a frame that has been put together from parts, by the
	// clock of whoever has done so; 0: its time left says it.
	Due int64

	headerCount, headerBytes int
}

// ErrMalformed is what a peer may not say (rule 18).
var ErrMalformed = errors.New("malformed frame")

// Next reads the tag and the length of the frame at the start of b: its
// kind, and where its content begins and ends. If more input is needed, end is
// 0 or more than len(b).
func Next(b []byte) (kind, begin, end int, err error) {
	if len(b) < 2 {
		return 0, 0, 0, nil
	}
	tag, n := consumeVarint(b)
	if n <= 0 {
		return 0, 0, 0, incomplete(b)
	}
	if tag&7 != 2 || tag>>3 == 0 || tag>>3 > 1<<20 {
		return 0, 0, 0, fmt.Errorf("%w: tag %d", ErrMalformed, tag)
	}
	size, m := consumeVarint(b[n:])
	if m <= 0 {
		return 0, 0, 0, incomplete(b[n:])
	}
	if size > MaxSize {
		return 0, 0, 0, fmt.Errorf("%w: frame %d of %d bytes; the limit is %d", ErrMalformed, tag>>3, size, MaxSize)
	}
	return int(tag >> 3), n + m, n + m + int(size), nil
}

// incomplete tells a varint that goes on from one that is too long.
func incomplete(b []byte) error {
	if len(b) >= 10 {
		return ErrMalformed
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

// Parse reads the content of a frame. Unknown fields are skipped.
func (f *Frame) Parse(b []byte) error {
	missing, err := f.ParsePart(b, len(b))
	if err == nil && missing != 0 {
		return ErrMalformed
	}
	return err
}

// ParsePart reads the content of a frame of that size, of which b is the
// beginning. It returns how much of the body is missing, which is then the last
// field; -1 if b ends before.
func (f *Frame) ParsePart(b []byte, size int) (missing int, err error) {
	f.reset()
	for i := 0; i < len(b); {
		if i+1 < len(b) { // most fields: a tag and a number of a byte each
			if t, v := b[i], b[i+1]; t&7 == 0 && t >= 1<<3 && t < byte(len(f.Head))<<3 && v < 0x80 {
				f.Head[t>>3] = uint64(v)
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
			case tag>>3 < uint64(len(f.Head)):
				f.Head[tag>>3] = v
			case tag>>3 == fieldSkipped: // one by one
				f.Skipped = protowire.AppendVarint(slices.Clip(f.Skipped), v)
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
			return 0, ErrMalformed
		case tag>>3 == fieldBody && l > MaxChunk:
			return 0, fmt.Errorf("%w: body of %d bytes in a frame; the limit is %d", ErrMalformed, l, MaxChunk)
		case tag>>3 == fieldBody && l > uint64(len(b)-i) && l == uint64(size-i):
			f.Body = b[i:]
			return int(l) - len(f.Body), nil
		case l > uint64(len(b)-i):
			return cut(b, size)
		}
		v := b[i : i+int(l)]
		i += int(l)
		switch tag >> 3 {
		case fieldBody:
			f.Body = v
		case fieldSkipped:
			if f.Skipped != nil { // in parts
				v = slices.Concat(f.Skipped, v)
			}
			f.Skipped = v
		case fieldCodecName:
			f.CodecName = v
		case fieldAddress:
			f.Address = v
		case fieldDetails:
			f.Details = v
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
func (f *Frame) reset() {
	f.Head = Head{}
	f.headerCount, f.headerBytes, f.Due = 0, 0, 0
	if f.Header != nil {
		f.Header = nil
	}
	if f.Skipped != nil {
		f.Skipped = nil
	}
	if f.CodecName != nil {
		f.CodecName = nil
	}
	if f.Address != nil {
		f.Address = nil
	}
	if f.Details != nil {
		f.Details = nil
	}
	if f.Body != nil {
		f.Body = nil
	}
}

// cut is what reading says that came to the end of b within a field.
func cut(b []byte, size int) (missing int, err error) {
	if len(b) < size {
		return -1, nil
	}
	return 0, ErrMalformed
}

func (f *Frame) addHeader(b []byte) error {
	var key, value string
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ErrMalformed
		}
		b = b[n:]
		if typ != protowire.BytesType || num > 2 {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return ErrMalformed
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return ErrMalformed
		}
		b = b[n:]
		if num == 1 {
			key = strings.ToLower(string(v))
		} else {
			value = string(v)
		}
	}
	f.headerCount++
	f.headerBytes += len(key) + len(value)
	if f.headerCount > MaxHeaders || f.headerBytes > MaxHeader {
		return fmt.Errorf("%w: more than %d headers or %d bytes of them", ErrMalformed, MaxHeaders, MaxHeader)
	}
	if f.Header == nil {
		f.Header = Header{}
	}
	f.Header[key] = append(f.Header[key], value)
	return nil
}

// Numbers reads a packed field.
func Numbers(b []byte) ([]uint32, error) {
	var ns []uint32
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 || v > 1<<32-1 {
			return nil, ErrMalformed
		}
		ns = append(ns, uint32(v))
		b = b[n:]
	}
	return ns, nil
}
