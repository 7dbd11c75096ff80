package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// faults are the ways in which a function of the program's may not return.
var faults = map[string]func(){"panics": func() { panic("no") }, "ends its goroutine": runtime.Goexit}

// journal is a log.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) has(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.text.String(), text)
}

// badError is an error whose text cannot be had.
type badError func()

func (e badError) Error() string { e(); return "" }

// badLog is a log handler that fails.
type badLog struct {
	slog.Handler
	fail func()
}

func (badLog) Enabled(context.Context, slog.Level) bool { return true }

func (l badLog) Handle(context.Context, slog.Record) error { l.fail(); return nil }

type bad struct{ Fail bool }

// TestGuests: a function of the program's that the bus calls on a goroutine of its
// own ends its call with an error, whatever it does, and nothing else: the log has
// the stack, the consumer goes on, other consumers and Close wait for nothing.
func TestGuests(t *testing.T) {
	t.Parallel()
	decodes := func(_ context.Context, m *bus.Message) error { return m.Decode(new(bad)) }
	replies := func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, bad{true}) }
	codec := func(encode, decode func()) bus.Option {
		return bus.WithCodec("bad",
			func(b bad) ([]byte, error) {
				if b.Fail {
					encode()
				}
				return nil, nil
			},
			func([]byte) (bad, error) { decode(); return bad{}, nil })
	}
	for name, guest := range map[string]func(fail func()) (bus.HandlerFunc, []bus.Option){
		"handler": func(fail func()) (bus.HandlerFunc, []bus.Option) {
			return func(context.Context, *bus.Message) error { fail(); return nil }, nil
		},
		"error of a handler": func(fail func()) (bus.HandlerFunc, []bus.Option) {
			return func(context.Context, *bus.Message) error { return badError(fail) }, nil
		},
		"inbound interceptor": func(fail func()) (bus.HandlerFunc, []bus.Option) {
			return nothing, []bus.Option{bus.WithInbound(func(next bus.Handler) bus.Handler {
				return bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
					if m.Address() == "a" {
						fail()
					}
					return next.Handle(ctx, m)
				})
			})}
		},
		"outbound interceptor of a reply": func(fail func()) (bus.HandlerFunc, []bus.Option) {
			return replies, []bus.Option{bus.WithOutbound(func(next bus.Caller) bus.Caller {
				return func(ctx context.Context, c *bus.Call) (*bus.Message, error) {
					if c.Verb == bus.VerbReply {
						fail()
					}
					return next(ctx, c)
				}
			})}
		},
		"codec that decodes": func(fail func()) (bus.HandlerFunc, []bus.Option) {
			return decodes, []bus.Option{codec(func() {}, fail)}
		},
		"codec of a reply": func(fail func()) (bus.HandlerFunc, []bus.Option) {
			return replies, []bus.Option{codec(fail, func() {})}
		},
		"log handler": func(fail func()) (bus.HandlerFunc, []bus.Option) {
			return func(context.Context, *bus.Message) error { panic("for the log") },
				[]bus.Option{bus.WithLogger(slog.New(badLog{slog.DiscardHandler, fail}))}
		},
		"event function and log handler": func(fail func()) (bus.HandlerFunc, []bus.Option) {
			return func(context.Context, *bus.Message) error { panic("for the log") }, []bus.Option{
				bus.WithLogger(slog.New(badLog{slog.DiscardHandler, fail})), bus.WithEvents(func(bus.Event) { fail() })}
		},
	} {
		for how, fail := range faults {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var j journal
					h, opts := guest(fail)
					eb := bus.New(append([]bus.Option{bus.WithLogger(slog.New(slog.NewTextHandler(&j, nil)))}, opts...)...)
					consume(t, eb, "a", h)
					consume(t, eb, "b", nothing)
					begin := time.Now()
					for range 2 {
						_, err := eb.Request(t.Context(), "a", bad{})
						if e := new(bus.ReplyError); !errors.As(err, &e) || e.Code != bus.CodePanic {
							t.Errorf("%v; want CodePanic", err)
						}
					}
					if err := eb.Send(t.Context(), "a", bad{}); err != nil {
						t.Error(err)
					}
					if _, err := eb.Request(t.Context(), "b", nil); err != nil {
						t.Error(err)
					}
					if err := eb.Close(); err != nil {
						t.Error(err)
					}
					if took := time.Since(begin); took > 0 {
						t.Errorf("took %v", took)
					}
					if !strings.Contains(name, "log handler") && !j.has("stack=") {
						t.Error("the log has no stack")
					}
				})
			})
		}
	}
}

// TestBadLogOfDeadLetter: the bus says by a timer that nobody has taken a message.
func TestBadLogOfDeadLetter(t *testing.T) {
	t.Parallel()
	for how, fail := range faults {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				eb := bus.New(bus.WithLogger(slog.New(badLog{slog.DiscardHandler, fail})))
				hold := make(chan struct{})
				c := consume(t, eb, "a", func(context.Context, *bus.Message) error { <-hold; return nil })
				for range 2 {
					if err := eb.Send(t.Context(), "a", nil); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				_ = c.Close()
				time.Sleep(time.Minute)
				if n := eb.Stats().DeadLetters; n != 1 {
					t.Errorf("%d dead letters", n)
				}
				close(hold)
				if err := eb.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestSlowLogDelaysNobody: who asked is answered before a panic is logged.
func TestSlowLogDelaysNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(bus.WithLogger(slog.New(badLog{slog.DiscardHandler, func() { time.Sleep(time.Hour) }})))
		consume(t, eb, "a", func(context.Context, *bus.Message) error { panic("no") })
		begin := time.Now()
		_, err := eb.Request(t.Context(), "a", nil)
		if e := new(bus.ReplyError); !errors.As(err, &e) || e.Code != bus.CodePanic || time.Since(begin) > 0 {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		time.Sleep(2 * time.Hour)
		if err := eb.Close(); err != nil {
			t.Error(err)
		}
	})
}
