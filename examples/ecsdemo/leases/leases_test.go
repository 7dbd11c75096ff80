package leases_test

import (
	"os"
	"testing"

	"github.com/runrig-go/runrig/examples/ecsdemo/leases"
	"github.com/runrig-go/runrig/verticle/lease"
	"github.com/runrig-go/runrig/verticle/lease/leasetest"
)

// urlVariable tells a process that the test starts where the store is.
const urlVariable = "LEASES_URL"

func serve(t *testing.T) string {
	t.Helper()
	if url := os.Getenv(urlVariable); url != "" {
		return url
	}
	url, stop, err := leases.Serve(new(lease.Memory))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return url
}

func TestStore(t *testing.T) {
	t.Parallel()
	url := serve(t)
	leasetest.Conformance(t, func(testing.TB) lease.Store { return leases.Open(url) })
}

func TestProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("leases have to end")
	}
	t.Parallel()
	url := serve(t)
	leasetest.Processes(t, func(testing.TB) lease.Store { return leases.Open(url) }, urlVariable+"="+url)
}
