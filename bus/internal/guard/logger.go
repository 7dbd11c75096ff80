package guard

import (
	"context"
	"log/slog"
)

// Logger returns a logger that writes to l, whose handler is guarded: a line at
// which it panics, or ends its goroutine, is lost. A nil l is [slog.Default].
func Logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		l = slog.Default()
	}
	return slog.New(handler{l.Handler()})
}

// handler guards another one.
type handler struct{ next slog.Handler }

// Enabled asks next; where that fails, nothing is enabled.
func (h handler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	_ = Call("log handler", func() error {
		enabled = h.next.Enabled(ctx, level)
		return nil
	})
	return enabled
}

// Handle has next write a line.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	return Call("log handler", func() error { return h.next.Handle(ctx, r) })
}

// WithAttrs returns a handler that guards next with these attributes.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler { return handler{h.next.WithAttrs(attrs)} }

// WithGroup returns a handler that guards next with this group.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.next.WithGroup(name)} }
