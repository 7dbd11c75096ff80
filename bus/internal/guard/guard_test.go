package guard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus/internal/guard"
)

// rude is a panic value whose own text cannot be had.
type rude struct{}

func (rude) String() string { runtime.Goexit(); return "" }

func fails() error { panic("no luck") }

func TestCall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		f     func() error
		want  string // in the error
		stack string // in the stack; "" if there is to be none
	}{
		{"returns", func() error { return nil }, "<nil>", ""},
		{"fails", func() error { return io.EOF }, "EOF", ""},
		{"panics", fails, "it panicked: no luck", "guard_test.fails"},
		{"panics with an error", func() error { panic(io.EOF) }, "it panicked: EOF", "TestCall"},
		{"panics with nil", func() error { panic(nil) }, "it panicked: ", "TestCall"},
		{"panics with what has no text", func() error { panic(rude{}) }, "it ended its goroutine", "TestCall"},
		{"ends its goroutine", func() error { runtime.Goexit(); return nil }, "it ended its goroutine", "TestCall"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := guard.Call("it", c.f)
			if got := fmt.Sprint(err); !strings.HasPrefix(got, c.want) {
				t.Errorf("error %q, want %q", got, c.want)
			}
			if stack := fmt.Sprint(guard.Stack(fmt.Errorf("wrapped: %w", err))...); (stack != "") != (c.stack != "") || !strings.Contains(stack, c.stack) {
				t.Errorf("stack %q, want one with %q", stack, c.stack)
			}
		})
	}
	if err := guard.Call("it", func() error { panic(io.EOF) }); errors.Is(err, io.EOF) {
		t.Error("a panic with an error is taken for that error")
	}
}

// broken is a log handler that fails in all that a line needs, or in one part.
type broken struct {
	slog.Handler
	fail            func()
	enabled, handle bool
}

func (b broken) Enabled(ctx context.Context, l slog.Level) bool {
	if b.enabled {
		b.fail()
	}
	return b.Handler.Enabled(ctx, l)
}

func (b broken) Handle(ctx context.Context, r slog.Record) error {
	if b.handle {
		b.fail()
	}
	return b.Handler.Handle(ctx, r)
}

func (b broken) WithAttrs(a []slog.Attr) slog.Handler {
	b.Handler = b.Handler.WithAttrs(a)
	return b
}

func (b broken) WithGroup(n string) slog.Handler {
	b.Handler = b.Handler.WithGroup(n)
	return b
}

func TestLogger(t *testing.T) {
	t.Parallel()
	text := new(bytes.Buffer)
	h := slog.NewTextHandler(text, &slog.HandlerOptions{AddSource: true, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	for name, fail := range map[string]func(){"panics": func() { panic("no luck") }, "ends its goroutine": runtime.Goexit} {
		for _, b := range []broken{{h, fail, true, false}, {h, fail, false, true}} {
			guard.Logger(slog.New(b)).With("a", 1).WithGroup("g").Error(name)
		}
	}
	if text.Len() > 0 {
		t.Errorf("of lines that were lost there is %q", text)
	}
	l := guard.Logger(slog.New(h)).With("a", 1).WithGroup("g")
	l.Debug("not enabled")
	l.Info("line", "b", 2)
	if got := text.String(); !strings.HasPrefix(got, "level=INFO source=") || !strings.HasSuffix(got, "msg=line a=1 g.b=2\n") || !strings.Contains(got, "guard_test.go") {
		t.Errorf("logged %q", got)
	}
	if guard.Logger(nil).Handler() == nil {
		t.Error("a nil logger gives none")
	}
}

func TestIsNil(t *testing.T) {
	t.Parallel()
	for v, want := range map[any]bool{nil: true, (*rude)(nil): true, &rude{}: false, rude{}: false, 0: false} {
		if got := guard.IsNil(v); got != want {
			t.Errorf("%#v: %v", v, got)
		}
	}
	if !guard.IsNil((func())(nil)) || guard.IsNil(func() {}) {
		t.Error("of functions")
	}
}
