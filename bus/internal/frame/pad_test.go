package frame

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus/internal/wire"
)

func TestPad(t *testing.T) {
	t.Parallel()
	for n := range 100 {
		b := AppendPad(nil, n)
		if (n+len(b))%Alignment != 0 || len(b) > 2*Alignment {
			t.Errorf("%d bytes after %d", len(b), n)
		}
		var f wire.Frame
		if err := proto.Unmarshal(b, &f); err != nil || (len(b) > 0) != (f.Kind != nil) {
			t.Errorf("%x is %v, %v", b, f.Kind, err)
		} else if _, ok := f.Kind.(*wire.Frame_Pad); len(b) > 0 && !ok {
			t.Errorf("%x is %T", b, f.Kind)
		}
	}
}
