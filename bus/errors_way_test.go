package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus"
)

// An error that a handler got from another one, and passes on, is not taken for its
// own: it says which way it came, and only a handler's own code comes along.
func TestErrorOfAnotherHandler(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		consume(t, p.to, "panics", func(context.Context, *bus.Message) error { panic("boom") })
		consume(t, p.to, "refuses", func(context.Context, *bus.Message) error { return &bus.ReplyError{Code: 42, Message: "sold out"} })
		own := map[string]error{
			"own":     &bus.ReplyError{Code: 7, Message: "mine"},
			"own bus": &bus.ReplyError{Code: bus.CodeBody, Message: "not that"},
			"wrapped": fmt.Errorf("order 17: %w", &bus.ReplyError{Code: 7, Message: "mine"}),
			"joined":  errors.Join(errors.New("first"), &bus.ReplyError{Code: 7, Message: "mine"}),
		}
		asks := bus.Respond(func(ctx context.Context, what string) (string, error) {
			if err := own[what]; err != nil {
				return "", err
			}
			return bus.Request[string](ctx, p.to, what, "")
		})
		c, err := p.to.Consume("asks", asks)
		if err != nil || c.Known(t.Context()) != nil {
			t.Fatal(err)
		}
		for what, want := range map[string]struct {
			code int
			text []string
		}{
			"own":     {7, []string{"mine"}},
			"own bus": {bus.CodeBody, []string{"not that"}},
			"wrapped": {7, []string{"order 17: mine"}},
			"joined":  {7, []string{"first\nmine"}},
			"refuses": {42, []string{`request to "refuses"`, ": sold out"}},
			"panics":  {bus.CodeFailed, []string{`request to "panics"`, "the handler panicked (code -2)"}},
			"nobody":  {bus.CodeFailed, []string{`no consumer of "nobody"`}},
		} {
			_, err := bus.Request[string](t.Context(), p.from, "asks", what)
			var no *bus.ReplyError
			if !errors.As(err, &no) || no.Code != want.code || !strings.HasPrefix(err.Error(), `request to "asks"`) {
				t.Errorf("%s: %v", what, err)
				continue
			}
			for _, text := range want.text {
				if !strings.Contains(no.Message, text) {
					t.Errorf("%s: %q lacks %q", what, no.Message, text)
				}
			}
			if strings.Count(no.Message, "consumer answered") > 1 || what != "panics" && strings.Contains(no.Message, "consumer answered") {
				t.Errorf("%s: %q", what, no.Message)
			}
		}
	})
}
