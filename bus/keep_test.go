package bus_test

import (
	"sync"
	"testing"

	"github.com/runrig-go/runrig/bus"
)

type keepKey struct{}

// TestKeep: a bus keeps one value for a key, whoever asks first and through
// whichever scope, and each bus has its own.
func TestKeep(t *testing.T) {
	t.Parallel()
	eb, other := bus.New(), bus.New()
	if v := eb.Keep(keepKey{}, nil); v != nil {
		t.Errorf("before anything is kept: %v", v)
	}
	made := 0
	create := func() any { made++; return new(int) }
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { eb.Scope().Keep(keepKey{}, create) })
	}
	wg.Wait()
	if first := eb.Keep(keepKey{}, create); made != 1 || first != eb.Keep(keepKey{}, nil) {
		t.Errorf("made %d times", made)
	}
	if eb.Keep(keepKey{}, nil) == other.Keep(keepKey{}, create) {
		t.Error("two buses have the same")
	}
}
