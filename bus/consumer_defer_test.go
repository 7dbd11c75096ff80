package bus_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// shelf keeps requests whose answers are deferred.
type shelf struct {
	mu sync.Mutex
	ms []*bus.Message
}

func (s *shelf) Handle(_ context.Context, m *bus.Message) error {
	if !m.WantsReply() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ms = append(s.ms, m)
	return m.Defer()
}

// take returns a request when it has come.
func (s *shelf) take(t *testing.T) *bus.Message {
	t.Helper()
	within(t, "a request comes", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.ms) > 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.ms[0]
	s.ms = s.ms[1:]
	return m
}

type outcome struct {
	m   *bus.Message
	err error
}

// asks sends requests one behind the other, and returns where each one's end comes.
func asks(ctx context.Context, eb *bus.EventBus, address string, n int, body any) []chan outcome {
	ends := make([]chan outcome, n)
	for i := range ends {
		ends[i] = make(chan outcome, 1)
		placed := make(chan struct{})
		var once sync.Once
		next := func() { once.Do(func() { close(placed) }) }
		go func() {
			m, err := eb.Request(ctx, address, body, bus.Placed(next))
			next()
			ends[i] <- outcome{m, err}
		}()
		<-placed
	}
	return ends
}

// Answers that are deferred reach their requesters in whatever order they are given,
// by a reply, an error or a question, while the consumer handles what comes.
func TestDefer(t *testing.T) {
	everywhere(t, func(t *testing.T, p pair) {
		var s shelf
		consume(t, p.to, "a", s.Handle, bus.Deferring())
		ends := asks(t.Context(), p.from, "a", 4, "q")
		ms := []*bus.Message{s.take(t), s.take(t), s.take(t), s.take(t)}
		if err := p.from.Send(t.Context(), "a", "not in the way"); err != nil {
			t.Fatal(err)
		}
		within(t, "the send is handled", func() bool { return p.to.Stats().Handled == 5 })
		if err := ms[3].Reply(t.Context(), "three"); err != nil {
			t.Error(err)
		}
		var got string
		if end := receive(t, ends[3]); end.err != nil || end.m.Decode(&got) != nil || got != "three" {
			t.Errorf("%q, %v", got, end.err)
		}
		if err := ms[0].Fail(&bus.ReplyError{Code: 7, Message: "no"}); err != nil {
			t.Error(err)
		}
		var no *bus.ReplyError
		if end := receive(t, ends[0]); !errors.As(end.err, &no) || no.Code != 7 {
			t.Error(end.err)
		}
		answer := make(chan outcome, 1)
		go func() {
			m, err := ms[1].Request(t.Context(), "how many?")
			answer <- outcome{m, err}
		}()
		if end := receive(t, ends[1]); end.err != nil || end.m.Reply(t.Context(), 7) != nil {
			t.Error(end.err)
		}
		if a := receive(t, answer); a.err != nil {
			t.Error(a.err)
		}
		for _, m := range ms[:2] {
			if m.Reply(t.Context(), 1) == nil || m.Fail(errors.New("x")) == nil || m.Defer() == nil {
				t.Error("a request was answered twice")
			}
		}
		if err := ms[2].Reply(t.Context(), nil); err != nil {
			t.Error(err)
		}
		if end := receive(t, ends[2]); end.err != nil {
			t.Error(end.err)
		}
		atRest(t, p.from, p.to)
		if s := p.to.Stats(); s.Handled != 5 || s.Forgotten != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A deferred answer counts in the window until it is given: no more requests come
// than fit in.
func TestDeferredCountInTheWindow(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var s shelf
		consume(t, p.to, "a", s.Handle, bus.Deferring(), bus.WithWindow(1<<10))
		end := make(chan error, 20)
		for range 20 {
			go func() {
				_, err := p.from.Request(t.Context(), "a", make([]byte, 128))
				end <- err
			}()
		}
		time.Sleep(time.Second)
		s.mu.Lock()
		n := len(s.ms)
		s.mu.Unlock()
		if n < 2 || n > 5 {
			t.Errorf("%d requests of 256 bytes came into a window of 1,024", n)
		}
		for range 20 {
			if err := s.take(t).Reply(t.Context(), nil); err != nil {
				t.Error(err)
			}
		}
		for range 20 {
			if err := receive(t, end); err != nil {
				t.Error(err)
			}
		}
		atRest(t, p.from, p.to)
	})
}

// Who forgets to answer loses the requester's time, and no window for ever; that is
// counted. A requester that gives up is no reason to.
func TestForgotten(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var s shelf
		consume(t, p.to, "a", s.Handle, bus.Deferring(), bus.WithWindow(1<<10))
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := p.from.Request(ctx, "a", make([]byte, 1000)); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
		}
		ctx, cancel := context.WithCancel(t.Context())
		end := asks(ctx, p.from, "a", 1, nil)
		for range 10 {
			s.take(t)
		}
		s.take(t)
		cancel()
		if e := receive(t, end[0]); !errors.Is(e.err, context.Canceled) {
			t.Error(e.err)
		}
		atRest(t, p.from, p.to)
		if s := p.to.Stats(); s.Forgotten != 10 || s.Handled != 11 {
			t.Errorf("%+v", s)
		}
	})
}

// A bus that closes waits for deferred answers as for handlers that run.
func TestCloseWaitsForDeferred(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var s shelf
		c := consume(t, p.to, "a", s.Handle, bus.Deferring())
		end := asks(t.Context(), p.from, "a", 1, nil)
		m := s.take(t)
		closed := make(chan error, 1)
		go func() { closed <- p.to.Close() }()
		time.Sleep(time.Second)
		select {
		case err := <-closed:
			t.Fatalf("Close did not wait: %v", err)
		case <-c.Done():
			t.Fatal("the consumer is done before its answer")
		default:
		}
		if err := m.Reply(t.Context(), "bye"); err != nil {
			t.Error(err)
		}
		if e := receive(t, end[0]); e.err != nil {
			t.Error(e.err)
		}
		if err := receive(t, closed); err != nil {
			t.Error(err)
		}
		receive(t, c.Done())
	})
}

// Close ends the contexts of deferred answers when its time is over.
func TestCloseGivesUpDeferred(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var s shelf
		ended := make(chan struct{})
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			context.AfterFunc(ctx, func() { close(ended) })
			return s.Handle(ctx, m)
		}, bus.Deferring())
		end := asks(t.Context(), p.from, "a", 1, nil)
		s.take(t)
		if err := p.to.Close(); err == nil {
			t.Error("nothing was left")
		}
		receive(t, ended)
		if e := receive(t, end[0]); e.err == nil {
			t.Error("it was answered")
		}
	})
}

// What cannot be deferred says so; a handler that defers and then fails, panics or
// answers has answered; and with WithConcurrency, in a scope, paused, all is as ever.
func TestDeferAndTheRest(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		if err := new(bus.Message).Defer(); err == nil {
			t.Error("a message that nobody sent was deferred")
		}
		refusal := make(chan error, 2)
		consume(t, p.to, "plain", func(_ context.Context, m *bus.Message) error { refusal <- m.Defer(); return nil })
		if _, err := p.from.Request(t.Context(), "plain", nil); err != nil || receive(t, refusal) == nil {
			t.Error("deferred without Deferring", err)
		}
		consume(t, p.to, "send", func(_ context.Context, m *bus.Message) error { refusal <- m.Defer(); return nil }, bus.Deferring())
		if err := p.from.Send(t.Context(), "send", nil); err != nil || receive(t, refusal) == nil {
			t.Error("a send was deferred", err)
		}
		scope := p.to.Scope()
		for name, eb := range map[string]*bus.EventBus{"bus": p.to, "scope": scope} {
			for mode, opts := range map[string][]bus.ConsumeOption{"one": {bus.Deferring()}, "four": {bus.Deferring(), bus.WithConcurrency(4)}} {
				address := name + mode
				var s shelf
				consume(t, eb, address, func(ctx context.Context, m *bus.Message) error {
					var how string
					_ = m.Decode(&how)
					if how == "later" {
						return s.Handle(ctx, m)
					}
					if err := m.Defer(); err != nil {
						return err
					}
					switch how {
					case "fail":
						return errors.New("failed")
					case "panic":
						panic("oh")
					}
					return m.Reply(ctx, nil)
				}, opts...)
				for how, fails := range map[string]bool{"fail": true, "panic": true, "reply": false} {
					if _, err := p.from.Request(t.Context(), address, how); (err != nil) != fails {
						t.Errorf("%s: %s: %v", address, how, err)
					}
				}
				ends := asks(t.Context(), p.from, address, 10, "later")
				for range ends {
					if err := s.take(t).Reply(t.Context(), nil); err != nil {
						t.Error(err)
					}
				}
				for _, end := range ends {
					if e := receive(t, end); e.err != nil {
						t.Error(e.err)
					}
				}
			}
		}
		atRest(t, p.from, p.to)
	})
}

// Requests whose answers are deferred come in the order sent.
func TestDeferKeepsOrder(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var got []int
		var s shelf
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			var i int
			if err := m.Decode(&i); err != nil {
				return err
			}
			got = append(got, i)
			return s.Handle(ctx, m)
		}, bus.Deferring())
		var ends []chan outcome
		for i := range 100 {
			ends = append(ends, asks(t.Context(), p.from, "a", 1, i)...)
		}
		for range ends {
			_ = s.take(t).Reply(t.Context(), nil)
		}
		for _, end := range ends {
			receive(t, end)
		}
		for i, g := range got {
			if i != g {
				t.Fatalf("%d came in place of %d", g, i)
			}
		}
	})
}
