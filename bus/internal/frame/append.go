package frame

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

func lenField(n int) int { return 1 + protowire.SizeBytes(n) }

func sizeEntry(key, value string) int { return lenField(len(key)) + lenField(len(value)) }

func headersSize(header Header) (n int) {
	for k, vs := range header {
		for _, v := range vs {
			n += lenField(sizeEntry(k, v))
		}
	}
	return n
}

func appendHeaders(b []byte, header Header) []byte {
	for k, vs := range header {
		for _, v := range vs {
			b = append(b, fieldHeaders<<3|2)
			b = protowire.AppendVarint(b, uint64(sizeEntry(k, v)))
			b = protowire.AppendString(append(b, 1<<3|2), k)
			b = protowire.AppendString(append(b, 2<<3|2), v)
		}
	}
	return b
}

// AppendSkipped appends the numbers that a publish skips, as a field.
func AppendSkipped(b, packed []byte) []byte {
	return protowire.AppendBytes(append(b, fieldSkipped<<3|2), packed)
}

// AppendAddress appends the address of a handover to a codec's field.
func AppendAddress(codec []byte, address string) []byte {
	return protowire.AppendString(append(slices.Clip(codec), fieldAddress<<3|2), address)
}

// AppendDetails appends the details of an error to a codec's field.
func AppendDetails(codec, details []byte) []byte {
	return protowire.AppendBytes(append(slices.Clip(codec), fieldDetails<<3|2), details)
}

// AppendCodecName appends the name of a codec, as a field.
func AppendCodecName(b []byte, name string) []byte {
	return protowire.AppendString(append(b, fieldCodecName<<3|2), name)
}

// Append appends a frame up to its body, of which only the length is
// written; the caller appends the body itself. The fields between the headers
// and the body are in rest, as they are written. Large bodies are aligned.
func Append(b []byte, kind int, h *Head, header Header, rest []byte, body int) []byte {
	n := 0
	for _, v := range h[1:] {
		if v != 0 {
			n += 1 + protowire.SizeVarint(v)
		}
	}
	if len(header) > 0 {
		n += headersSize(header)
	}
	n += len(rest)
	if body > 0 {
		n += lenField(body)
	}
	if body >= AlignedBody {
		b = AppendPad(b, len(b)+protowire.SizeTag(protowire.Number(kind))+protowire.SizeVarint(uint64(n))+n-body)
	}
	if kind < 16 {
		b = append(b, byte(kind<<3|2))
	} else {
		b = protowire.AppendVarint(b, uint64(kind)<<3|2)
	}
	b = AppendFields(protowire.AppendVarint(b, uint64(n)), h, header, rest)
	if body > 0 {
		b = protowire.AppendVarint(append(b, fieldBody<<3|2), uint64(body))
	}
	return b
}

// AppendFields appends the content of a frame but for its body.
func AppendFields(b []byte, h *Head, header Header, rest []byte) []byte {
	for i := 1; i < fieldHeaders; i++ {
		if h[i] != 0 {
			b = protowire.AppendVarint(append(b, byte(i<<3)), h[i])
		}
	}
	if len(header) > 0 {
		b = appendHeaders(b, header)
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
