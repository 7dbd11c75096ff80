package verticle_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// numbered makes verticles that answer with their number, and fail when they
// are sent "fail".
func numbered(j *journal) func() verticle.Verticle {
	made := 0
	return func() verticle.Verticle {
		made++
		me := made
		return &part{
			start: func(_ context.Context, d *verticle.Deployment) error {
				j.add(fmt.Sprint("start ", me))
				fail := make(chan error, 1)
				d.Go(func(ctx context.Context) error {
					select {
					case err := <-fail:
						return err
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				_, err := d.Consume("n", bus.Respond(func(_ context.Context, s string) (int, error) {
					if s == "fail" {
						fail <- errTest
					}
					return me, nil
				}))
				return err
			},
			stop: func(context.Context) error { j.add(fmt.Sprint("stop ", me)); return nil },
		}
	}
}

// wantNumbers asks for numbers until all that are wanted have come, in turns.
func wantNumbers(t *testing.T, eb *bus.EventBus, want ...int) {
	t.Helper()
	got := map[int]int{}
	for range 2 * len(want) {
		n, err := bus.Request[int](t.Context(), eb, "n", "")
		if err != nil {
			t.Error(err)
		}
		got[n]++
	}
	for _, n := range want {
		if got[n] != 2 {
			t.Errorf("answers by number %v; want two of each of %v", got, want)
		}
	}
}

func TestInstances(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		d := deploy(t, eb, verticle.Instances(3, numbered(&j)))
		wantNumbers(t, eb, 1, 2, 3)
		undeploy(t, d)
		j.want(t, "start 1", "start 2", "start 3", "stop 3", "stop 2", "stop 1")
		if !strings.HasPrefix(d.ID(), "Instances-") {
			t.Errorf("ID %s", d.ID())
		}
	})
}

// TestInstanceFails: all end, all are restarted with new values, or it is
// restarted alone.
func TestInstanceFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		whole, one []verticle.Option
		want       []int // numbers afterwards; nil: ended
	}{
		{"never", nil, nil, nil},
		{"whole", []verticle.Option{quick}, nil, []int{4, 5, 6}},
		{"one", nil, []verticle.Option{quick}, []int{1, 2, 3}},
		{"both", []verticle.Option{quick}, []verticle.Option{quick}, []int{1, 2, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, eb *bus.EventBus) {
				var j journal
				d := deploy(t, eb, verticle.Instances(3, numbered(&j), tt.one...), tt.whole...)
				n, err := bus.Request[int](t.Context(), eb, "n", "fail")
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if tt.one != nil { // the others go on
					j.want(t, "start 1", "start 2", "start 3", fmt.Sprint("stop ", n))
				}
				time.Sleep(time.Second)
				if tt.want == nil {
					<-d.Done()
					wantErr(t, d.Err(), errTest)
					wantNoConsumer(t, eb, "n")
					return
				}
				wantNumbers(t, eb, tt.want...)
				undeploy(t, d)
			})
		})
	}
}

// TestInstancesRefuse: Deploy does; what has started is stopped.
func TestInstancesRefuse(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var j journal
		next := numbered(&j)
		first := next()
		after := func(v verticle.Verticle) func() verticle.Verticle {
			k := 0
			return func() verticle.Verticle {
				if k++; k == 1 {
					return first
				}
				return v
			}
		}
		for _, tt := range []struct {
			v    verticle.Verticle
			want string
			is   error
		}{
			{verticle.Instances(0, next), "Instances of 0", nil},
			{verticle.Instances(-1, next), "Instances of -1", nil},
			{verticle.Instances(1, nil), "nil function", nil},
			{verticle.Instances(1, next, nil), "nil Option", nil},
			{verticle.Instances(2, after(nil)), "instance 2 of 2: verticle: nil Verticle", nil},
			{verticle.Instances(2, after((*part)(nil))), "instance 2 of 2: verticle: nil *verticle_test.part", nil},
			{verticle.Instances(2, after(first)), "instance 2 of 2", verticle.ErrDeployed},
			{verticle.Instances(2, after(&part{start: func(context.Context, *verticle.Deployment) error { return errTest }})), "instance 2 of 2", errTest},
			{verticle.Instances(2, after(&part{start: func(context.Context, *verticle.Deployment) error { panic("oh") }})), "instance 2 of 2", verticle.ErrPanic},
			{verticle.Instances(1, func() verticle.Verticle { panic("oh") }), "start", verticle.ErrPanic},
		} {
			j.lines = nil
			_, err := verticle.Deploy(t.Context(), eb, tt.v, verticle.WithLogger(quiet))
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v; want %q, %v", err, tt.want, tt.is)
			}
			if strings.HasPrefix(tt.want, "instance 2") {
				j.want(t, "start 1", "stop 1")
			} else {
				j.want(t)
			}
		}
		err := verticle.Run(t.Context(), eb, next(), verticle.Instances(0, next))
		if err == nil || !strings.Contains(err.Error(), "verticle 2 of Run") {
			t.Errorf("%v; want a refusal before anything is deployed", err)
		}
	})
}
