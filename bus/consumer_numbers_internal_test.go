package bus

import (
	"context"
	"errors"
	"testing"
)

// TestNumbersOfConsumers: those for which other nodes need no number are not
// refused where there is none left.
func TestNumbersOfConsumers(t *testing.T) {
	t.Parallel()
	eb := newQuiet(t)
	h := HandlerFunc(func(context.Context, *Message) error { return nil })
	eb.core.mu.Lock()
	eb.core.consumers = make([]*Consumer, maxRoutes) // the first of which is no number
	eb.core.mu.Unlock()
	last := mustConsume(t, eb, "a", h)
	if last.num != maxRoutes {
		t.Errorf("the last consumer has the number %d", last.num)
	}
	if c, err := eb.Consume("a", h); c != nil || !errors.Is(err, ErrTooLarge) {
		t.Errorf("one more: %v, %v", c, err)
	}
	_ = mustConsume(t, eb, "a", h, LocalOnly())
	s := eb.Scope()
	if err := s.Do(t.Context(), func(context.Context) error {
		_, err := s.Consume("a", h, LocalOnly())
		return err
	}); err != nil {
		t.Error(err)
	}
	_ = last.Close()
	_ = mustConsume(t, eb, "a", h)
}

type nilHandler struct{}

func (*nilHandler) Handle(context.Context, *Message) error { return nil }

// TestNilHandlers: also as a pointer of a type, and from an interceptor.
func TestNilHandlers(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]Handler{"nil": nil, "function": HandlerFunc(nil), "pointer": (*nilHandler)(nil)} {
		if c, err := newQuiet(t).Consume("a", h); c != nil || err == nil {
			t.Errorf("%s: %v, %v", name, c, err)
		}
		eb := New(WithLogger(nil), WithInbound(func(Handler) Handler { return h }))
		if c, err := eb.Consume("a", new(nilHandler)); c != nil || err == nil {
			t.Errorf("%s from an interceptor: %v, %v", name, c, err)
		}
	}
}
