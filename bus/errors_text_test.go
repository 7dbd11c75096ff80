package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// The text of a ReplyError is kept up to its limit; what is longer is cut before a
// character and says so, over a link and within a node.
func TestLongErrorTextIsCutWithANote(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
			return &bus.ReplyError{Code: 1, Message: "x" + strings.Repeat("é", int(m.Body[0])<<9)}
		})
		for _, size := range []byte{1, 15, 16, 40} {
			want := 1 + int(size)<<10
			_, err := p.from.Request(t.Context(), "a", []byte{size})
			var no *bus.ReplyError
			if !errors.As(err, &no) || !utf8.ValidString(no.Message) || len(no.Message) > 16<<10 {
				t.Fatalf("%d bytes came as %d", want, len(no.Message))
			}
			if noted := strings.HasSuffix(no.Message, fmt.Sprintf("… (%d bytes)", want)); noted != (want > 16<<10) || !noted && len(no.Message) != want {
				t.Errorf("%d bytes came as %d, which end in %q", want, len(no.Message), no.Message[len(no.Message)-20:])
			}
		}
	})
}

// What a call returns names its address, and the node where there is one.
func TestErrorsNameAddressAndNode(t *testing.T) {
	t.Parallel()
	c := bustest.NewCluster(t, 2, quiet)
	consume(t, c.Bus(1), "a", func(ctx context.Context, m *bus.Message) error {
		switch string(m.Body) {
		case "panic":
			panic("x")
		case "error":
			return errors.New("x")
		case "text":
			return m.Reply(ctx, "text")
		}
		<-ctx.Done()
		return ctx.Err() // at times before the caller's own deadline
	})
	for _, what := range []string{"panic", "error", "text", "no reply", "given up"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if what == "given up" {
			time.AfterFunc(time.Millisecond, cancel)
		}
		_, err := bus.Request[int](ctx, c.Bus(0), "a", []byte(what))
		cancel()
		if text := fmt.Sprint(err); !strings.Contains(text, "n1") || !strings.Contains(text, `"a"`) {
			t.Errorf("%s: %q lacks the address or the node", what, text)
		}
	}
}

// What cannot be answered, or has been, is named.
func TestErrorsOfReplies(t *testing.T) {
	t.Parallel()
	c := bustest.NewCluster(t, 2, quiet)
	errs := make(chan error, 1)
	consume(t, c.Bus(1), "a", func(ctx context.Context, m *bus.Message) error {
		switch {
		case string(m.Body) == "break":
			c.Break(0, 1)
		default:
			_ = m.Reply(ctx, nil)
		}
		errs <- m.Reply(ctx, nil)
		return nil
	})
	for _, what := range []struct{ body, want string }{
		{"send", "is not a request"}, {"answer", "answered already"}, {"break", "link lost"},
	} {
		var err error
		if what.body == "send" {
			err = c.Bus(0).Send(t.Context(), "a", []byte(what.body))
		} else if _, err = c.Bus(0).Request(t.Context(), "a", []byte(what.body)); what.body == "break" {
			err = nil // that it is lost is the requester's error, too
		}
		if err != nil {
			t.Fatal(what.body, err)
		}
		if text := fmt.Sprint(<-errs); !strings.Contains(text, what.want) || !strings.Contains(text, `"a"`) {
			t.Errorf("%s: %q lacks the address, or %q", what.body, text, what.want)
		}
	}
}
