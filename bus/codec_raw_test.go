package bus_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/runrig-go/runrig/bus"
)

// JSON that is encoded already goes as it is; what is none is an error of the call.
func TestRawJSON(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, m.Body) })
		for in, want := range map[string]string{`{ "a" : "<&>" , "b":[ 1.50 ] }`: "", `null`: "", "": `null`} {
			raw := json.RawMessage(in)
			if in == "" {
				raw = nil
			}
			m, err := p.from.Request(t.Context(), "a", raw)
			if want == "" {
				want = in
			}
			if err != nil || string(m.Body) != want {
				t.Errorf("%q came as %q, %v", in, m.Body, err)
			}
		}
		for _, in := range []string{"{", "1 2", " "} {
			if err := p.from.Send(t.Context(), "a", json.RawMessage(in)); err == nil {
				t.Errorf("%q was sent", in)
			}
		}
	})
}
