package bustest_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// failingTB is a test that fails.
type failingTB struct {
	testing.TB
	failed   []string
	cleanups []func()
}

func (t *failingTB) Helper()           {}
func (t *failingTB) Cleanup(f func())  { t.cleanups = append(t.cleanups, f) }
func (t *failingTB) Output() io.Writer { return io.Discard }
func (t *failingTB) Errorf(format string, args ...any) {
	t.failed = append(t.failed, fmt.Sprintf(format, args...))
}

func (t *failingTB) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// run runs a part of a test that ends it.
func (t *failingTB) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func (t *failingTB) want(tt *testing.T, texts ...string) {
	tt.Helper()
	if len(t.failed) != 1 {
		tt.Fatalf("failures: %q", t.failed)
	}
	for _, text := range texts {
		if !strings.Contains(t.failed[0], text) {
			tt.Errorf("%q; want %q in it", t.failed[0], text)
		}
	}
	t.failed = nil
}

func TestRecorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bustest.NewBus(t)
		r := bustest.NewRecorder(t)
		if _, err := eb.Consume("a", r); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			time.AfterFunc(time.Duration(i)*time.Second, func() { eb.Send(context.Background(), "a", i) })
		}
		begin := time.Now()
		got := bustest.Bodies[int](t, r.Await(2))
		if !slices.Equal(got, []int{0, 1}) || time.Since(begin) != time.Second || len(r.Messages()) != 2 {
			t.Errorf("after %v: %v", time.Since(begin), got)
		}
		if got := bustest.Bodies[int](t, r.Await(3)); !slices.Equal(got, []int{0, 1, 2}) {
			t.Error(got)
		}
		if len(r.Await(0)) != 0 || len(r.Await(1)) != 1 {
			t.Error("Await returns other than it was asked for")
		}
	})
}

func TestRecorderFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bustest.NewBus(t)
		tb := new(failingTB)
		r := bustest.NewRecorder(tb)
		if _, err := eb.Consume("a", r); err != nil {
			t.Fatal(err)
		}
		eb.Send(t.Context(), "a", "one")
		begin := time.Now()
		tb.run(func() { r.Await(2) })
		tb.want(t, "1 of 2 messages came within 10s", `a "\"one\""`)
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("it took %v", took)
		}
		tb.run(func() { bustest.Bodies[int](tb, r.Messages()) })
		tb.want(t, `message 0, to "a"`)
	})
}

// Settle sees what handlers send in turn, wherever.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3)
		r := bustest.NewRecorder(t)
		const hops = 30
		for i := range 3 {
			cn, err := c.Bus(i).Consume(fmt.Sprint("at ", i), bus.Receive(func(ctx context.Context, n int) error {
				time.Sleep(10 * time.Millisecond)
				if n == hops {
					return c.Bus(i).Send(ctx, "end", n)
				}
				return c.Bus(i).Send(ctx, fmt.Sprint("at ", (i+1)%3), n+1)
			}))
			if err != nil {
				t.Fatal(err)
			}
			if err := cn.Known(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		end, err := c.Bus(1).Consume("end", r)
		if err != nil {
			t.Fatal(err)
		}
		if err := end.Known(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Bus(0).Send(t.Context(), "at 0", 0); err != nil {
			t.Fatal(err)
		}
		bustest.Settle(t, c.Bus(0), c.Bus(1), c.Bus(2))
		if len(r.Messages()) != 1 {
			t.Error("something was under way")
		}
		end.Pause()
		if err := c.Bus(0).Send(t.Context(), "end", 0); err != nil {
			t.Fatal(err)
		}
		tb := new(failingTB)
		tb.run(func() { bustest.Settle(tb, c.Bus(0), c.Bus(1)) })
		tb.want(t, "after 10s", `bus 0, "end"`, "1 are unsettled", "1 wait at a consumer (1 paused)")
		end.Resume()
	})
}

// A bus that does not close in time fails its test.
func TestNewBusFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb, block := new(failingTB), make(chan struct{})
		eb := bustest.NewBus(tb, bus.WithDrainTimeout(time.Second))
		if _, err := eb.Consume("a", bus.HandlerFunc(func(context.Context, *bus.Message) error { <-block; return nil })); err != nil {
			t.Fatal(err)
		}
		if err := eb.Send(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, f := range tb.cleanups {
			f()
		}
		tb.want(t, "drain time is over")
		close(block)
	})
}
