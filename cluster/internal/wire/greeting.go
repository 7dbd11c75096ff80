// Package wire is the encoding of the handshake between two nodes. Its schema
// is handshake.proto.
package wire

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxSize bounds an encoded Greeting, in bytes.
const MaxSize = 4096

// MaxTags bounds the tags of a Greeting; 4 KiB could hold a thousand empty ones.
const MaxTags = 64

// Verdict is the answer of a WELCOME.
type Verdict uint32

// The verdicts, as numbered in handshake.proto.
const (
	None Verdict = iota
	OK
	Cluster
	Version
	Self
	Stale
	Duplicate
	Leaving
	Secret
)

// Greeting is a HELLO or a WELCOME.
type Greeting struct {
	Cluster      string
	Name         string
	Boot         uint64
	Addr         string
	Tags         map[string]string
	MinVersion   uint32
	MaxVersion   uint32
	Capabilities uint64
	Attempt      uint64
	Target       uint64
	Verdict      Verdict
}

// The field numbers of Greeting.
const (
	fieldCluster = iota + 1
	fieldName
	fieldBoot
	fieldAddr
	fieldTags
	fieldMinVersion
	fieldMaxVersion
	fieldCapabilities
	fieldAttempt
	fieldTarget
	fieldVerdict
)

// ErrFormat says that bytes are no Greeting.
var ErrFormat = errors.New("not a greeting")

// Write writes g to w in one call. It fails if g is larger than MaxSize.
func Write(w io.Writer, g *Greeting) error {
	body := Append(nil, g)
	if len(body) > MaxSize {
		return fmt.Errorf("greeting of %d bytes; the limit is %d", len(body), MaxSize)
	}
	_, err := w.Write(append(protowire.AppendVarint(nil, uint64(len(body))), body...))
	return err
}

// Read (H1) reads a Greeting from r and not one byte more. Its errors match ErrFormat
// if what came is none, and are those of r otherwise.
func Read(r io.Reader) (*Greeting, error) {
	size, err := readLength(r)
	if err != nil {
		return nil, err
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("greeting cut short: %w", err)
	}
	return Parse(body)
}

// readLength reads the length: a varint of at most two bytes.
func readLength(r io.Reader) (uint64, error) {
	var head [2]byte
	for i := range head {
		if _, err := io.ReadFull(r, head[i:i+1]); err != nil {
			return 0, err
		}
		if head[i] < 0x80 {
			size, n := protowire.ConsumeVarint(head[:i+1])
			if n < 0 || size == 0 || size > MaxSize {
				return 0, fmt.Errorf("%w: length %d", ErrFormat, size)
			}
			return size, nil
		}
	}
	return 0, fmt.Errorf("%w: length over %d", ErrFormat, MaxSize)
}

// Append appends the encoding of g, in which tags are sorted.
func Append(b []byte, g *Greeting) []byte {
	b = appendString(b, fieldCluster, g.Cluster)
	b = appendString(b, fieldName, g.Name)
	b = appendFixed(b, fieldBoot, g.Boot)
	b = appendString(b, fieldAddr, g.Addr)
	for _, key := range slices.Sorted(maps.Keys(g.Tags)) {
		entry := appendString(appendString(nil, 1, key), 2, g.Tags[key])
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldTags, protowire.BytesType), entry)
	}
	b = appendVarint(b, fieldMinVersion, uint64(g.MinVersion))
	b = appendVarint(b, fieldMaxVersion, uint64(g.MaxVersion))
	b = appendVarint(b, fieldCapabilities, g.Capabilities)
	b = appendVarint(b, fieldAttempt, g.Attempt)
	b = appendFixed(b, fieldTarget, g.Target)
	return appendVarint(b, fieldVerdict, uint64(g.Verdict))
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendFixed(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), v)
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

// Parse reads an encoded Greeting. Fields it does not know are skipped. Strings
// must be UTF-8; the last of several values of a field counts.
func Parse(b []byte) (*Greeting, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, len(b))
	}
	g := new(Greeting)
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, fmt.Errorf("%w: %w", ErrFormat, protowire.ParseError(n))
		}
		b = b[n:]
		n, err := g.parseField(field, kind, b)
		if err != nil {
			return nil, err
		}
		b = b[n:]
	}
	return g, nil
}

// parseField reads one field's value and returns its length.
func (g *Greeting) parseField(field protowire.Number, kind protowire.Type, b []byte) (int, error) {
	switch {
	case field == fieldTags && kind == protowire.BytesType:
		return g.parseTag(b)
	case g.text(field) != nil && kind == protowire.BytesType:
		return parseText(g.text(field), field, b)
	case g.fixed(field) != nil && kind == protowire.Fixed64Type:
		v, n := protowire.ConsumeFixed64(b)
		*g.fixed(field) = v
		return checked(n, field)
	case kind == protowire.VarintType:
		v, n := protowire.ConsumeVarint(b)
		if n >= 0 {
			g.setNumber(field, v)
		}
		return checked(n, field)
	}
	return checked(protowire.ConsumeFieldValue(field, kind, b), field)
}

func (g *Greeting) text(field protowire.Number) *string {
	switch field {
	case fieldCluster:
		return &g.Cluster
	case fieldName:
		return &g.Name
	case fieldAddr:
		return &g.Addr
	}
	return nil
}

func (g *Greeting) fixed(field protowire.Number) *uint64 {
	switch field {
	case fieldBoot:
		return &g.Boot
	case fieldTarget:
		return &g.Target
	}
	return nil
}

func (g *Greeting) setNumber(field protowire.Number, v uint64) {
	switch field {
	case fieldMinVersion:
		g.MinVersion = uint32(v)
	case fieldMaxVersion:
		g.MaxVersion = uint32(v)
	case fieldCapabilities:
		g.Capabilities = v
	case fieldAttempt:
		g.Attempt = v
	case fieldVerdict:
		g.Verdict = Verdict(v)
	}
}

func (g *Greeting) parseTag(b []byte) (int, error) {
	entry, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return checked(n, fieldTags)
	}
	var key, value string
	for len(entry) > 0 {
		field, kind, m := protowire.ConsumeTag(entry)
		if m < 0 {
			return checked(m, fieldTags)
		}
		entry = entry[m:]
		var err error
		switch {
		case field == 1 && kind == protowire.BytesType:
			m, err = parseText(&key, fieldTags, entry)
		case field == 2 && kind == protowire.BytesType:
			m, err = parseText(&value, fieldTags, entry)
		default:
			m, err = checked(protowire.ConsumeFieldValue(field, kind, entry), fieldTags)
		}
		if err != nil {
			return 0, err
		}
		entry = entry[m:]
	}
	if g.Tags == nil {
		g.Tags = map[string]string{}
	}
	g.Tags[key] = value
	if len(g.Tags) > MaxTags {
		return 0, fmt.Errorf("%w: over %d tags", ErrFormat, MaxTags)
	}
	return n, nil
}

func parseText(to *string, field protowire.Number, b []byte) (int, error) {
	raw, n := protowire.ConsumeBytes(b)
	if n >= 0 && !utf8.Valid(raw) {
		return 0, fmt.Errorf("%w: field %d is not UTF-8", ErrFormat, field)
	}
	*to = string(raw)
	return checked(n, field)
}

func checked(n int, field protowire.Number) (int, error) {
	if n < 0 {
		return 0, fmt.Errorf("%w: field %d: %w", ErrFormat, field, protowire.ParseError(n))
	}
	return n, nil
}
