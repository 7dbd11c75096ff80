package verticle_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// badLog is a log handler that fails.
type badLog struct {
	slog.Handler
	fail func()
}

func (badLog) Enabled(context.Context, slog.Level) bool { return true }

func (l badLog) Handle(context.Context, slog.Record) error { l.fail(); return nil }

func (l badLog) WithAttrs([]slog.Attr) slog.Handler { return l }

// TestGuests: whatever a function does that a deployment calls on a goroutine of its
// own, the deployment ends, or goes on, in time, and the log has the stack; also if
// the log handler fails, too, with which all lines are lost and nothing else.
func TestGuests(t *testing.T) {
	t.Parallel()
	for name, guest := range map[string]func(d *verticle.Deployment, fail func()){
		"Go": func(d *verticle.Deployment, fail func()) { d.Go(func(context.Context) error { fail(); return nil }) },
		"After": func(d *verticle.Deployment, fail func()) {
			d.After(1, func(context.Context) error { fail(); return nil })
		},
		"Every": func(d *verticle.Deployment, fail func()) {
			d.Every(1, func(context.Context) error { fail(); return nil })
		},
		"Stop":    nil, // below
		"events":  nil,
		"restart": nil,
	} {
		for how, fail := range map[string]func(){"panics": func() { panic("no") }, "ends its goroutine": runtime.Goexit} {
			for log, bad := range map[string]bool{"": false, ", and so the log": true} {
				t.Run(name+" "+how+log, func(t *testing.T) {
					t.Parallel()
					bubble(t, func(t *testing.T, eb *bus.EventBus) {
						var text bytes.Buffer
						logger := slog.New(slog.NewTextHandler(&text, nil))
						if bad {
							logger = slog.New(badLog{slog.DiscardHandler, fail})
						}
						opts := []verticle.Option{verticle.WithLogger(logger)}
						starts := 0
						p := &part{start: func(_ context.Context, d *verticle.Deployment) error {
							if starts++; starts > 1 && name == "restart" {
								fail()
							}
							if name == "restart" {
								d.After(time.Millisecond, func(context.Context) error { return errTest })
							}
							if guest != nil {
								guest(d, fail)
							}
							return nil
						}}
						switch name {
						case "Stop":
							p.stop = func(context.Context) error { fail(); return nil }
						case "events":
							opts = append(opts, verticle.WithEvents(func(verticle.Event) { fail() }))
						case "restart":
							opts = append(opts, verticle.WithRestart(verticle.Restart{Max: 1}))
						}
						d := deploy(t, eb, p, opts...)
						begin := time.Now()
						if guest != nil || name == "restart" {
							<-d.Done()
						}
						err := d.Undeploy(t.Context())
						if fine := name == "events"; fine != (err == nil) {
							t.Errorf("ended with %v", err)
						}
						if took := time.Since(begin); took > 2*time.Second {
							t.Errorf("took %v", took)
						}
						if !bad && !strings.Contains(text.String(), "stack=") {
							t.Errorf("no stack in the log %q", &text)
						}
					})
				})
			}
		}
	}
}
