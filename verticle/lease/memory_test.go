package lease_test

import (
	"testing"

	"github.com/runrig-go/runrig/verticle/lease"
	"github.com/runrig-go/runrig/verticle/lease/leasetest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	m := new(lease.Memory)
	leasetest.Conformance(t, func(testing.TB) lease.Store { return m })
}

// A store without Watch is polled.
func TestPolledMemory(t *testing.T) {
	t.Parallel()
	m := new(lease.Memory)
	leasetest.Conformance(t, func(testing.TB) lease.Store { return leasetest.NewStore(m) })
}
