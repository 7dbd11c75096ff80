package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/runrig-go/runrig/cluster/internal/wire"
)

func full() *wire.Greeting {
	return &wire.Greeting{
		Cluster: "runrig", Name: "node-a", Boot: 0x0123456789abcdef, Addr: "10.0.0.7:7946",
		Tags:       map[string]string{"zone": "eu-1a", "": "", "z": "ü"},
		MinVersion: 1, MaxVersion: 3, Capabilities: 1 << 40, Attempt: 300, Target: 0xfedcba9876543210, Verdict: wire.Leaving,
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, g := range []*wire.Greeting{{}, full(), {Boot: 1, Attempt: 1}} {
		var b bytes.Buffer
		if len(wire.Append(nil, g)) > 0 {
			if err := wire.Write(&b, g); err != nil {
				t.Fatal(err)
			}
			b.WriteString("next")
			got, err := wire.Read(&b)
			if err != nil || !reflect.DeepEqual(got, g) {
				t.Errorf("Read gave %+v, %v; want %+v", got, err, g)
			}
			if rest := b.String(); rest != "next" {
				t.Errorf("Read left %q; want all that follows", rest)
			}
		}
	}
}

// golden is version 1 of the handshake on the wire.
const golden = "48" + "0a0672756e726967" + "12066e6f64652d61" + "19efcdab8967452301" + "220d31302e302e302e373a37393436" +
	"2a0d0a047a6f6e65120565752d3161" + "3001" + "3801" + "4807" + "511032547698badcfe" + "5805"

func TestGoldenBytes(t *testing.T) {
	t.Parallel()
	g := &wire.Greeting{
		Cluster: "runrig", Name: "node-a", Boot: 0x0123456789abcdef, Addr: "10.0.0.7:7946",
		Tags: map[string]string{"zone": "eu-1a"}, MinVersion: 1, MaxVersion: 1, Attempt: 7, Target: 0xfedcba9876543210, Verdict: wire.Stale,
	}
	var b bytes.Buffer
	if err := wire.Write(&b, g); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b.Bytes()); got != golden {
		t.Errorf("encoded as\n%s, want\n%s", got, golden)
	}
}

// descriptor is handshake.proto's Greeting, for the protobuf library.
func descriptor(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: proto.String(name), Number: proto.Int32(number), Type: kind.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	text, number := descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_UINT64
	fixed, small := descriptorpb.FieldDescriptorProto_TYPE_FIXED64, descriptorpb.FieldDescriptorProto_TYPE_UINT32
	tags := field("tags", 5, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE)
	tags.TypeName, tags.Label = proto.String(".t.Greeting.TagsEntry"), descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("t.proto"), Package: proto.String("t"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Greeting"),
			Field: []*descriptorpb.FieldDescriptorProto{
				field("cluster", 1, text), field("name", 2, text), field("boot", 3, fixed), field("addr", 4, text), tags,
				field("min_version", 6, small), field("max_version", 7, small), field("capabilities", 8, number),
				field("attempt", 9, number), field("target", 10, fixed), field("verdict", 11, small),
			},
			NestedType: []*descriptorpb.DescriptorProto{{
				Name:    proto.String("TagsEntry"),
				Field:   []*descriptorpb.FieldDescriptorProto{field("key", 1, text), field("value", 2, text)},
				Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
			}},
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("Greeting")
}

// The protobuf library reads what Append wrote, and Parse what the library wrote.
func TestIsProtobuf(t *testing.T) {
	t.Parallel()
	m := dynamicpb.NewMessage(descriptor(t))
	want := wire.Append(nil, full())
	if err := proto.Unmarshal(want, m); err != nil {
		t.Fatal(err)
	}
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		t.Errorf("the library does not know %x", unknown)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.Parse(b)
	if err != nil || !reflect.DeepEqual(got, full()) {
		t.Errorf("Parse of the library's bytes gave %+v, %v", got, err)
	}
}

func TestSkipsUnknownFields(t *testing.T) {
	t.Parallel()
	b := append([]byte{0x78, 1, 0x82, 1, 2, 'h', 'i'}, wire.Append(nil, full())...) // fields 15 and 16
	b = append(b, 0x10, 5)                                                          // a name of the wrong type
	if got, err := wire.Parse(b); err != nil || !reflect.DeepEqual(got, full()) {
		t.Errorf("Parse gave %+v, %v", got, err)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	many := &wire.Greeting{Tags: map[string]string{}}
	for i := range 65 {
		many.Tags[strconv.Itoa(i)] = ""
	}
	var tags bytes.Buffer
	if err := wire.Write(&tags, many); err != nil {
		t.Fatal(err)
	}
	for what, in := range map[string]string{
		"length 0":            "\x00",
		"length 4097":         "\x81\x20",
		"length of 3 bytes":   "\xff\xff\x01",
		"length of 4 GiB":     "\xff\xff\xff\xff\x0f",
		"a tag cut short":     "\x01\x80",
		"a string too long":   "\x02\x0a\x05",
		"not UTF-8":           "\x03\x0a\x01\xff",
		"group without end":   "\x01\x0b",
		"tag entry cut short": "\x03\x2a\x01\x0a",
		"65 tags":             tags.String(),
	} {
		if _, err := wire.Read(strings.NewReader(in)); !errors.Is(err, wire.ErrFormat) {
			t.Errorf("%s: error %v, want %v", what, err, wire.ErrFormat)
		}
	}
	for what, in := range map[string]string{"nothing": "", "half a length": "\x81", "half a body": "\x05\x0a"} {
		if _, err := wire.Read(strings.NewReader(in)); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: error %v, want that of the stream", what, err)
		}
	}
}

func TestWriteRefusesTooLarge(t *testing.T) {
	t.Parallel()
	g := &wire.Greeting{Tags: map[string]string{"k": strings.Repeat("x", wire.MaxSize)}}
	if err := wire.Write(io.Discard, g); err == nil {
		t.Error("no error")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x02\x0a\x00"))
	b, _ := hex.DecodeString(golden)
	f.Add(b)
	var all bytes.Buffer
	_ = wire.Write(&all, full())
	f.Add(all.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := wire.Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := wire.Parse(wire.Append(nil, g))
		if err != nil || !reflect.DeepEqual(again, g) {
			t.Fatalf("read %+v, which comes back as %+v, %v", g, again, err)
		}
	})
}
