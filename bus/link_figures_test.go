package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// TestLinkFigures: a link's figures are those of its messages and bytes, and both ends
// agree; the round trip is that of the network, also under load.
func TestLinkFigures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := bustest.NewCluster(t, 2)
		a, b := nodes.Bus(0), nodes.Bus(1)
		for _, way := range []*bustest.Conn{nodes.Conn(0, 1), nodes.Conn(1, 0)} {
			way.SetDelay(func() time.Duration { return 10 * time.Millisecond })
		}
		hold := make(chan struct{})
		for address, h := range map[string]bus.HandlerFunc{
			"work": func(context.Context, *bus.Message) error { return nil },
			"held": func(context.Context, *bus.Message) error { <-hold; return nil },
		} {
			c, err := b.Consume(address, h)
			if err == nil {
				err = c.Known(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			if err := a.Send(t.Context(), "work", make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		asked := make(chan error, 1)
		go func() { _, err := a.Request(t.Context(), "held", nil); asked <- err }()
		time.Sleep(7 * time.Second)
		out, in := a.Links()[0], b.Links()[0]
		if out.Sent != 11 || out.Unsettled != 1 || out.Requests != 1 || out.Queued != 0 || in.Coming != 1 || in.Sent != 0 {
			t.Errorf("figures %+v\nand %+v", out, in)
		}
		if out.BytesOut < 10_000 || out.BytesOut != in.BytesIn || in.BytesOut != out.BytesIn {
			t.Errorf("bytes %d, %d there, %d and %d back", out.BytesOut, in.BytesIn, in.BytesOut, out.BytesIn)
		}
		if out.RoundTrip < 20*time.Millisecond || out.RoundTrip > 21*time.Millisecond || time.Since(out.LastRead) > 2*time.Second {
			t.Errorf("round trip %v, last read %v ago", out.RoundTrip, time.Since(out.LastRead))
		}
		close(hold)
		if err := <-asked; err != nil {
			t.Error(err)
		}
		if out := a.Links()[0]; out.Requests != 0 {
			t.Errorf("after the reply: %+v", out)
		}
	})
}
