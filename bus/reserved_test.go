package bus_test

import (
	"context"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus"
)

// TestReserved: an address of the library's own is refused to everybody who does
// not ask for it, by each verb, and works for those who do.
func TestReserved(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		const address = "_runrig.test"
		h := bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error { return nil })
		c, err := p.to.Consume(address, h, bus.Reserved())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Known(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"Consume": second(p.to.Consume(address, h)),
			"Send":    p.from.Send(t.Context(), address, nil),
			"Publish": p.from.Publish(t.Context(), address, nil),
			"gossip":  p.from.Publish(t.Context(), address, nil, bus.Gossip()),
			"Request": second(p.from.Request(t.Context(), address, nil)),
			"all":     second(p.from.RequestAll(t.Context(), address, nil, bus.LocalOnly())),
			"unknown": p.from.Send(t.Context(), "_runrig.", nil),
		} {
			if err == nil || !strings.Contains(err.Error(), "is reserved") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if all, err := p.from.RequestAll(t.Context(), address, nil, bus.Reserved()); err != nil || len(all) != 1 {
			t.Errorf("%d replies, %v", len(all), err)
		}
		if err := p.from.Send(t.Context(), "_runrigged", nil); err == nil || strings.Contains(err.Error(), "reserved") {
			t.Errorf("an address that is not reserved: %v", err)
		}
	})
}

// TestReservedBehindInterceptors: an interceptor cannot lead a call to a reserved
// address, nor does it lose the permission of one.
func TestReservedBehindInterceptors(t *testing.T) {
	t.Parallel()
	redirect := ""
	eb := bus.New(bus.WithOutbound(func(next bus.Caller) bus.Caller {
		return func(ctx context.Context, call *bus.Call) (*bus.Message, error) {
			if redirect != "" {
				call.Address = redirect
			}
			return next(ctx, call)
		}
	}))
	defer eb.Close()
	if _, err := eb.Consume("_runrig.x", bus.Respond(func(_ context.Context, n int) (int, error) { return n, nil }), bus.Reserved()); err != nil {
		t.Fatal(err)
	}
	if _, err := eb.Request(t.Context(), "_runrig.x", 1, bus.Reserved()); err != nil {
		t.Error(err)
	}
	redirect = "_runrig.x"
	if err := eb.Send(t.Context(), "x", nil); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("redirected: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
