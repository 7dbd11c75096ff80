package bus

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Where there are no numbers left, or a name is too long, bodies go without a name; the
// names that are known stay.
func TestProtoTypesAreBounded(t *testing.T) {
	t.Parallel()
	const own = 3
	ts := newProtoTypes(own)
	if n := ts.named([]byte(strings.Repeat("n", maxTypeName+1))); n != codecProto {
		t.Errorf("a long name has number %d", n)
	}
	seen := map[uint8]bool{}
	for i := range 500 {
		name := fmt.Sprint("type", i)
		n := ts.named([]byte(name))
		if at := ts.at(n); n == codecProto && at != nil || n != codecProto && (at == nil || at.name != name || seen[n] || n < codecOwn+own) {
			t.Fatalf("%s has number %d, of %v", name, n, at)
		}
		if n != codecProto {
			seen[n] = true
		}
		if again := ts.named([]byte(name)); again != n {
			t.Errorf("%s has numbers %d and %d", name, n, again)
		}
	}
	if len(seen) != codecUnknown-codecOwn-own || ts.at(codecUnknown) != nil || ts.at(codecOwn) != nil {
		t.Errorf("%d names are known", len(seen))
	}
}

// To look up a name costs no memory.
func TestProtoTypesAllocs(t *testing.T) {
	ts := newProtoTypes(0)
	var v any = wrapperspb.String("x")
	name := []byte("google.protobuf.StringValue")
	allocs(t, 0, func() {
		if ts.of(v.(*wrapperspb.StringValue)) != ts.named(name) {
			t.Error("two numbers for one name")
		}
	})
}
