package bus_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus"
)

// Fail with no error, as a program gives that has not looked whether there is one, says
// so, and the request can still be answered.
func TestFailWithoutError(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var s shelf
		consume(t, p.to, "a", s.Handle, bus.Deferring())
		end := asks(t.Context(), p.from, "a", 1, nil)[0]
		m := s.take(t)
		for name, none := range map[string]error{"nil": nil, "a nil pointer": (*bus.ReplyError)(nil)} {
			err := m.Fail(none)
			if err == nil || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), "nil error") || !m.WantsReply() {
				t.Errorf("%s: %v; wants a reply still: %v", name, err, m.WantsReply())
			}
		}
		if err := m.Fail(errors.New("full")); err != nil {
			t.Error(err)
		}
		var no *bus.ReplyError
		if e := receive(t, end); !errors.As(e.err, &no) || no.Code != bus.CodeFailed || no.Message != "full" {
			t.Error(e.err)
		}
		atRest(t, p.from, p.to)
	})
}
