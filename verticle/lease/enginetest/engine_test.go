package enginetest

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/verticle/lease"
	"github.com/runrig-go/runrig/verticle/lease/leasetest"
)

// An engine is a store and the server that it is on.
type engine struct {
	env      string                                         // the variable with the server's address
	start    func(t testing.TB) (address string)            // starts one, or skips the test
	open     func(t testing.TB, address string) lease.Store // with connections of its own
	at       func(hostport string) (address string)
	maxValue int
}

// address returns that of the server which the environment names, or of a new one.
func (e engine) address(t testing.TB) string {
	t.Helper()
	if address := os.Getenv(e.env); address != "" {
		return address
	}
	return e.start(t)
}

// test is what is tested of each engine, at that address.
func (e engine) test(t *testing.T, address string) {
	open := func(t testing.TB) lease.Store { return e.open(t, address) }
	t.Run("Conformance", func(t *testing.T) { leasetest.Conformance(t, open) })
	t.Run("Linearizable", func(t *testing.T) { checkLinearizable(t, open) })
	t.Run("Processes", func(t *testing.T) { leasetest.Processes(t, open, e.env+"="+address) })
	t.Run("LargeValue", func(t *testing.T) { testLargeValue(t, open(t), e.maxValue) })
	t.Run("LostReply", func(t *testing.T) { testLostReply(t, e, address) })
	t.Run("Deadline", func(t *testing.T) { testDeadline(t, e.open(t, e.at(silentServer(t)))) })
}

// testLargeValue: the largest value passes, and a larger one is refused at once with
// an error that says what the limit is.
func testLargeValue(t *testing.T, s lease.Store, limit int) {
	version, err := s.Put(t.Context(), "large", make([]byte, limit), 0)
	if err == nil {
		err = s.Delete(t.Context(), "large", version)
	}
	if err != nil {
		t.Fatalf("a value of %d bytes: %v", limit, err)
	}
	_, err = s.Put(t.Context(), "larger", make([]byte, limit+1), 0)
	wantMisconfigured(t, err, "larger")
}

// wantMisconfigured wants an error that somebody has to mend, and that says all this.
func wantMisconfigured(t *testing.T, err error, says ...string) {
	t.Helper()
	if !errors.Is(err, lease.ErrMisconfigured) {
		t.Errorf("error %v; want ErrMisconfigured", err)
		return
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q; want it to name %q", err, text)
		}
	}
}

// wantUnknown wants an error that does not say that nothing was done.
func wantUnknown(t *testing.T, err error) {
	t.Helper()
	if err == nil || errors.Is(err, lease.ErrConflict) || errors.Is(err, lease.ErrMisconfigured) {
		t.Errorf("error %v; want one that does not say that nothing was done", err)
	}
}

func get(t *testing.T, s lease.Store, key string) ([]byte, uint64) {
	t.Helper()
	value, version, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return value, version
}

// testDeadline: no call outlasts its context at a server that takes connections and
// says nothing, and the error does not say that nothing was done.
func testDeadline(t *testing.T, s lease.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := s.Put(ctx, "x", []byte("x"), 0)
	wantUnknown(t, err)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Put at a silent server took %v, with a deadline after 300 ms", took)
	}
}

// silentServer takes connections and says nothing.
func silentServer(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // and with it what was not accepted
	return l.Addr().String()
}
