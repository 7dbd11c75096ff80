package bus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// handlerContext is a message as the context of its handler. It costs nothing
// until somebody asks for its Done channel.
type handlerContext Message

// life is what a handler's context needs once its Done channel was asked for.
type life struct {
	done  chan struct{}
	once  sync.Once
	timer *time.Timer
}

func (l *life) end() {
	l.once.Do(func() {
		l.timer.Stop()
		close(l.done)
	})
}

// end ends the handler's context, for the first of the reasons given.
func (m *Message) end(reason uint32) {
	if m.set(reason, stateEnded) {
		m.endLife()
		if m.state()&stateDeferred != 0 {
			go m.release() // which ends at once, but may need a lock that the caller holds
		}
	}
}

// done notes that the handler has returned, also where its context had ended
// before. Nobody holds its turn any more.
func (m *Message) done() {
	if atomic.OrUint32(&m.bits, stateDone)&stateEnded == 0 {
		m.endLife()
	}
}

func (m *Message) endLife() {
	if r := m.rare.Load(); r != nil {
		if l := r.life.Load(); l != nil {
			l.end()
		}
	}
}

func (x *handlerContext) message() *Message { return (*Message)(x) }

// Deadline returns the message's deadline.
func (x *handlerContext) Deadline() (time.Time, bool) {
	return x.in.clock.timeOf(x.deadline), true
}

// Done returns a channel that is closed when the context has ended.
func (x *handlerContext) Done() <-chan struct{} {
	m := x.message()
	r := m.rare.Load()
	if r == nil {
		if r = new(rare); !m.rare.CompareAndSwap(nil, r) {
			r = m.rare.Load()
		}
	}
	if l := r.life.Load(); l != nil {
		return l.done
	}
	l := &life{done: make(chan struct{})}
	l.timer = time.AfterFunc(time.Duration(m.deadline-m.in.clock.now()), func() { m.end(stateExpired) })
	if !r.life.CompareAndSwap(nil, l) {
		l.timer.Stop()
		return r.life.Load().done
	}
	if m.state()&stateEnded != 0 { // meanwhile
		l.end()
	}
	return l.done
}

// Err says why the context has ended.
func (x *handlerContext) Err() error {
	m := x.message()
	s := m.state()
	if s&stateEnded == 0 && m.in.clock.now() >= m.deadline {
		m.end(stateExpired)
		s = m.state()
	}
	switch {
	case s&stateEnded == 0:
		return nil
	case s&stateExpired != 0:
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// messageKey is that of [MessageOf].
type messageKey struct{}

// MessageOf returns the message whose handler ctx is the context of, or was made of:
// its headers and its sender, for a function of [Respond] or [Receive], which may also
// answer by [Message.Reply], with headers; what it returns itself is dropped then. It
// is nil for another context.
func MessageOf(ctx context.Context) *Message {
	m, _ := ctx.Value(messageKey{}).(*Message)
	return m
}

// Value returns the message for messageKey, and for turnKey until its handler has
// returned.
func (x *handlerContext) Value(key any) any {
	if key == (messageKey{}) {
		return x.message()
	}
	if key == (turnKey{}) && !x.message().isOver() {
		return x.message()
	}
	return nil
}
