package verticle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// watch adds events to a journal, as text without the random part of the IDs.
func watch(j *journal) verticle.Option {
	return verticle.WithEvents(func(e verticle.Event) { j.add(eventText(e)) })
}

func eventText(e verticle.Event) string {
	text := func(kind string, path []string, err error) string {
		names := make([]string, len(path))
		for i, id := range path {
			names[i], _, _ = strings.Cut(id, "-")
		}
		text := kind + " " + strings.Join(names, "/")
		if errors.Is(err, errTest) {
			text += " with the error"
		} else if err != nil {
			text += " with " + err.Error()
		}
		return text
	}
	switch e := e.(type) {
	case verticle.Started:
		return text(fmt.Sprint("started ", e.Restarts), e.Path, nil)
	case verticle.Failed:
		return text("failed", e.Path, e.Err)
	case verticle.Restarting:
		if e.Delay <= 0 {
			return "restarting without a delay"
		}
		return text(fmt.Sprint("restarting ", e.Restarts), e.Path, e.Err)
	case verticle.Stopped:
		return text("stopped", e.Path, e.Err)
	}
	return fmt.Sprintf("%T", e)
}

// tree is a verticle "p" that fails when told to, with a child "c" that has one,
// "g", which takes its time to stop.
func tree(fail <-chan error) verticle.Verticle {
	return verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
		d.Go(func(ctx context.Context) error {
			select {
			case err := <-fail:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		_, err := d.Deploy(ctx, verticle.Func(func(ctx context.Context, d *verticle.Deployment) error {
			stop := func(context.Context) error { time.Sleep(time.Millisecond); return nil }
			_, err := d.Deploy(ctx, &part{stop: stop}, verticle.WithName("g"))
			return err
		}), verticle.WithName("c"))
		return err
	})
}

func TestEvents(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		fail := make(chan error)
		d := deploy(t, eb, tree(fail), verticle.WithName("p"), watch(&j),
			verticle.WithRestart(verticle.Restart{Max: 1}))
		started := []string{"started 0 p/c/g", "started 0 p/c", "started 0 p"}
		j.want(t, started...)
		fail <- errTest
		time.Sleep(time.Second)
		again := append(started,
			"failed p with the error", "stopped p/c/g", "stopped p/c", "restarting 1 p with the error",
			"started 0 p/c/g", "started 0 p/c", "started 1 p")
		j.want(t, again...)
		fail <- errTest
		<-d.Done()
		j.want(t, append(again, "failed p with the error", "stopped p/c/g", "stopped p/c", "stopped p with the error")...)
	})
}

// TestEventsOfAChild that fails, and takes its parents with it.
func TestEventsOfAChild(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j, own journal
		fail := make(chan error)
		d := deploy(t, eb, new(part), verticle.WithName("r"), watch(&j))
		if _, err := d.Deploy(t.Context(), tree(fail), verticle.WithName("p"), watch(&own)); err != nil {
			t.Fatal(err)
		}
		fail <- errTest
		<-d.Done()
		end := []string{"failed r/p with the error",
			"stopped r/p/c/g", "stopped r/p/c", "stopped r/p with the error", "stopped r with the error"}
		own.want(t, append([]string{"started 0 r/p/c/g", "started 0 r/p/c", "started 0 r/p"}, end[:4]...)...)

		// The parent fails while the child ends.
		const parent = "failed r with the error"
		at := slices.Index(j.lines, parent)
		if at < slices.Index(j.lines, end[0]) || at > slices.Index(j.lines, end[4]) {
			t.Errorf("%q is in a wrong place of %q", parent, j.lines)
			return
		}
		j.lines = slices.Delete(j.lines, at, at+1)
		j.want(t, append([]string{"started 0 r", "started 0 r/p/c/g", "started 0 r/p/c", "started 0 r/p"}, end...)...)
	})
}

// TestEventsOfOthers: Deploy's errors, and an undeployment.
func TestEventsOfOthers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		start := func(context.Context, *verticle.Deployment) error { return errTest }
		_, err := verticle.Deploy(t.Context(), eb, &part{start: start}, verticle.WithLogger(quiet), watch(&j))
		wantErr(t, err, errTest)
		j.want(t, "failed verticle_test.part with the error", "stopped verticle_test.part with the error")

		j.lines = nil
		d := deploy(t, eb, &part{stop: func(context.Context) error { return errTest }}, watch(&j))
		wantErr(t, d.Undeploy(t.Context()), errTest)
		j.want(t, "started 0 verticle_test.part", "stopped verticle_test.part with the error")

		j.lines = nil
		_, err = verticle.Deploy(t.Context(), eb, &part{
			start: func(ctx context.Context, d *verticle.Deployment) error { return d.Undeploy(ctx) },
		}, verticle.WithLogger(quiet), watch(&j))
		wantErr(t, err, verticle.ErrUndeployed)
		j.want(t, "stopped verticle_test.part")

		_, err = verticle.Deploy(t.Context(), eb, new(part), verticle.WithEvents(nil))
		if err == nil || !strings.Contains(err.Error(), "WithEvents") {
			t.Errorf("%v; want a refusal", err)
		}
	})
}

// TestEventsOneByOne: those of parallel children come one after the other, in
// the order of each, and none is missing when Undeploy has returned.
func TestEventsOneByOne(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		const children, restarts = 10, 5
		of := map[string][]string{} // unguarded
		told := 0
		parent := deploy(t, eb, new(part), verticle.WithEvents(func(e verticle.Event) {
			text := eventText(e)
			kind, _, _ := strings.Cut(text, " ")
			_, name, _ := strings.Cut(text, "/")
			name, _, _ = strings.Cut(name, " ")
			of[name] = append(of[name], kind)
			told++
		}))
		var wg sync.WaitGroup
		for i := range children {
			wg.Go(func() {
				starts := 0
				_, err := parent.Deploy(t.Context(), verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
					if starts++; starts <= restarts {
						d.Go(func(context.Context) error { return nil })
						d.After(time.Second, func(context.Context) error { return errTest })
					}
					return nil
				}), quick, verticle.WithName(fmt.Sprint("c", i)))
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		undeploy(t, parent)
		for i := range children {
			var want []string
			for range restarts {
				want = append(want, "started", "failed", "restarting")
			}
			if got := of[fmt.Sprint("c", i)]; !slices.Equal(got, append(want, "started", "stopped")) {
				t.Errorf("events of child %d: %v", i, got)
			}
		}
		if want := children*(3*restarts+2) + 2; told != want {
			t.Errorf("%d events told; want %d", told, want)
		}
	})
}

// TestEventsPanic: it is logged, and the deployment goes on, as it does where the
// function ends its goroutine.
func TestEventsPanic(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]func(){"verticle: panic: oh": func() { panic("oh") }, "runtime.Goexit was called": runtime.Goexit} {
		bubble(t, func(t *testing.T, eb *bus.EventBus) {
			var text bytes.Buffer
			d := deploy(t, eb, consumes("a"), verticle.WithLogger(slog.New(slog.NewTextHandler(&text, nil))),
				verticle.WithEvents(func(verticle.Event) { f() }))
			wantConsumer(t, eb, "a")
			undeploy(t, d)
			if n := strings.Count(text.String(), "function of WithEvents panicked"); n != 2 || !strings.Contains(text.String(), want) {
				t.Errorf("log %q; want %q twice", text.String(), want)
			}
		})
	}
}
