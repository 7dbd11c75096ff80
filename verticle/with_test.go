package verticle_test

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// namesOf returns an option that notes the names of what starts.
func namesOf(names *[]string) verticle.Option {
	var mu sync.Mutex
	id := regexp.MustCompile(`-[0-9a-f]{16}$`)
	return verticle.WithEvents(func(e verticle.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e, ok := e.(verticle.Started); ok {
			*names = append(*names, id.ReplaceAllString(e.Path[len(e.Path)-1], ""))
		}
	})
}

func named(context.Context, *verticle.Deployment) error { return nil }

// Options go with a verticle wherever one is deployed without any; what is given at
// the deployment comes after them.
func TestWith(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var names []string
		seen := namesOf(&names)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		v := new(part)
		go func() {
			ended <- verticle.Run(ctx, eb, verticle.With(verticle.With(new(part), verticle.WithName("a")), seen), verticle.With(v, verticle.WithName("b"), seen))
		}()
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		undeploy(t, deploy(t, eb, verticle.With(new(part), verticle.WithName("b"), seen), verticle.WithName("c")))
		if want := []string{"a", "b", "c"}; !slices.Equal(names, want) {
			t.Errorf("names %q; want %q", names, want)
		}
		wantErr(t, verticle.Run(t.Context(), eb, v, verticle.With(v)), verticle.ErrDeployed)
		for _, v := range []verticle.Verticle{verticle.With(nil), verticle.With((*part)(nil), verticle.WithName("x"))} {
			if err := verticle.Run(t.Context(), eb, v); err == nil || !strings.Contains(err.Error(), "nil") {
				t.Errorf("error %v of a nil verticle", err)
			}
		}
	})
}

// A name tells which verticle it is, and which instance.
func TestNames(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]verticle.Verticle{
		"verticle_test.part":  new(part),
		"verticle_test.named": verticle.Func(named),
		"Instances verticle_test.part#1 verticle_test.part#2": verticle.Instances(2, func() verticle.Verticle { return new(part) }),
		"Instances worker#1 worker#2":                         verticle.Instances(2, func() verticle.Verticle { return new(part) }, verticle.WithName("worker")),
		"Instances worker#1": verticle.Instances(1, func() verticle.Verticle {
			return verticle.With(new(part), verticle.WithName("worker"))
		}),
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				var names []string
				undeploy(t, deploy(t, eb, v, namesOf(&names)))
				slices.Sort(names)
				if got := strings.Join(names, " "); got != want {
					t.Errorf("names %q; want %q", got, want)
				}
			})
		})
	}
}

// A deployment logs where its bus does.
func TestLoggerOfTheBus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		eb := bus.New(bus.WithLogger(slog.New(slog.NewTextHandler(&text, nil))))
		defer eb.Close()
		d, err := verticle.Deploy(t.Context(), eb, new(part))
		if err != nil {
			t.Fatal(err)
		}
		d.Logger().Info("hello")
		undeploy(t, d)
		if !strings.Contains(text.String(), "msg=hello verticle=verticle_test.part") {
			t.Errorf("the log of the bus has %q", text.String())
		}
	})
}
