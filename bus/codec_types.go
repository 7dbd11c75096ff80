package bus

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

// maxTypeName is the most bytes of a protobuf message's name that goes along with a body.
const maxTypeName = 255

// protoTypes is the protobuf messages whose names have gone along with bodies, or come. A
// body of one has a number of its own in this node, like a codec, behind those of the codecs
// of its own. Where there are no numbers left a body goes, and comes, without a name.
type protoTypes struct {
	first int // number
	known atomic.Pointer[typeTable]
	mu    sync.Mutex // held while known is replaced
}

// typeTable never changes.
type typeTable struct {
	byName map[string]uint8
	types  []protoType // from number first on
}

type protoType struct {
	name  string
	field []byte // the name as a field of a frame
}

func newProtoTypes(own int) *protoTypes {
	ts := &protoTypes{first: codecOwn + own}
	ts.known.Store(&typeTable{})
	return ts
}

// of returns the number of a body that is v encoded.
func (ts *protoTypes) of(v proto.Message) uint8 {
	name := string(v.ProtoReflect().Descriptor().FullName())
	if n, ok := ts.known.Load().byName[name]; ok {
		return n
	}
	return ts.add(name)
}

// named returns the number of a body with a name that has come.
func (ts *protoTypes) named(name []byte) uint8 {
	if n, ok := ts.known.Load().byName[string(name)]; ok {
		return n
	}
	return ts.add(string(name))
}

func (ts *protoTypes) add(name string) uint8 {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	old := ts.known.Load()
	if n, ok := old.byName[name]; ok {
		return n
	}
	n := ts.first + len(old.types)
	if n >= codecUnknown || name == "" || len(name) > maxTypeName {
		return codecProto
	}
	table := &typeTable{byName: maps.Clone(old.byName), types: append(slices.Clip(old.types), protoType{name, frame.AppendCodecName(nil, name)})}
	if table.byName == nil {
		table.byName = map[string]uint8{}
	}
	table.byName[name] = uint8(n)
	ts.known.Store(table)
	return uint8(n)
}

// at returns the type of a body by its number; nil if it is not that of a protobuf message
// whose name is known.
func (ts *protoTypes) at(number uint8) *protoType {
	if ts == nil || int(number) < ts.first || number == codecUnknown {
		return nil
	}
	return &ts.known.Load().types[int(number)-ts.first]
}

// decode decodes a body of the type into what v points to, which has to be one.
func (t *protoType) decode(b []byte, v any) error {
	to, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("bus: body is the protobuf message %s, which cannot be decoded into %T", t.name, v)
	}
	if name := to.ProtoReflect().Descriptor().FullName(); string(name) != t.name {
		return fmt.Errorf("bus: body is the protobuf message %s, and %T is another one, %s", t.name, v, name)
	}
	return decodeBody(b, codecProto, v)
}
