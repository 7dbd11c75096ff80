package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// What has expired, or was given up, at a consumer that then closes goes to no
// other one. It is counted as what it is.
func TestTooLateIsNotSentBack(t *testing.T) {
	for at, where := range []string{"local", "linked"} {
		for _, way := range []string{"close", "leave"} {
			if at == 0 && way == "leave" {
				continue
			}
			t.Run(where+"/"+way, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c := bustest.NewCluster(t, 3, quiet, bus.WithDrainTimeout(time.Second))
					block := make(chan struct{})
					cn := consume(t, c.Bus(at), "a", func(context.Context, *bus.Message) error { <-block; return nil })
					from := c.Bus(0)
					if err := from.Send(t.Context(), "a", nil); err != nil { // keeps it busy
						t.Fatal(err)
					}
					late, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					if err := from.Send(late, "a", nil); err != nil {
						t.Fatal(err)
					}
					given, giveUp := context.WithCancel(t.Context())
					asked := make(chan error, 2)
					go func() { _, err := from.Request(late, "a", nil); asked <- err }()
					go func() { _, err := from.Request(given, "a", nil); asked <- err }()
					time.Sleep(10 * time.Second)
					giveUp()
					<-asked
					<-asked
					synctest.Wait()
					var handled atomic.Int32
					consume(t, c.Bus(2), "a", func(context.Context, *bus.Message) error { handled.Add(1); return nil })
					left := make(chan error, 1)
					if way == "leave" {
						go func() { left <- c.Bus(at).Close() }()
					} else {
						left <- cn.Close()
					}
					synctest.Wait()
					if s := c.Bus(at).Stats(); handled.Load() > 0 || s.Expired != 2 || s.Canceled != 1 {
						t.Errorf("another consumer handled %d; expired %d of 2, canceled %d of 1", handled.Load(), s.Expired, s.Canceled)
					}
					close(block)
					if err := <-left; err != nil {
						t.Error(err)
					}
					if s := from.Stats(); s.Bounced > 0 || s.Rerouted > 0 || s.DeadLetters > 0 {
						t.Errorf("%+v", s)
					}
					atRest(t, from, c.Bus(2))
				})
			})
		}
	}
}

// A deadline ends a request in one way, whether the timer of its context or one of
// the bus fires first: with one text, one kind of error, the same counters and
// events. Those without a deadline of their own only have the bus's.
func TestOneDeadlineHasOneEnd(t *testing.T) {
	for _, sentBack := range []bool{false, true} {
		for at, where := range []string{"local", "linked"} {
			for _, size := range []int{0, 100 << 10} {
				t.Run(fmt.Sprintf("%s, %d bytes, sent back %v", where, size, sentBack), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { oneEnd(t, sentBack, at, size) })
				})
			}
		}
	}
}

func oneEnd(t *testing.T, sentBack bool, at, size int) {
	const n = 50
	var mu sync.Mutex
	texts, told := map[string]int{}, map[string]int{}
	note := func(in map[string]int, address string, err error) {
		mu.Lock()
		defer mu.Unlock()
		in[strings.ReplaceAll(fmt.Sprint(err), address, "a")]++
	}
	c := bustest.NewCluster(t, 2, quiet, bus.WithDrainTimeout(time.Second), deadLetters(func(d bus.DeadLetter) { note(told, d.Address, d.Reason) }))
	from, to := c.Bus(0), c.Bus(at)
	kind, dead := context.DeadlineExceeded, 0
	if sentBack {
		kind, dead = bus.ErrNoConsumer, n
	}
	block := make(chan struct{})
	var closing []*bus.Consumer
	var calls sync.WaitGroup
	for i := range n {
		address := fmt.Sprint("address", i)
		closing = append(closing, consume(t, to, address, func(context.Context, *bus.Message) error { <-block; return nil }))
		if err := from.Send(t.Context(), address, nil); err != nil { // keeps it busy
			t.Fatal(err)
		}
		calls.Go(func() {
			ctx := context.Background()
			if i%2 == 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 30*time.Second)
				defer cancel()
			}
			_, err := from.Request(ctx, address, make([]byte, size))
			if !errors.Is(err, kind) || !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			note(texts, address, err)
		})
	}
	time.Sleep(time.Second)
	for _, cn := range closing {
		if sentBack {
			cn.Close()
		}
	}
	calls.Wait()
	synctest.Wait()
	if s := from.Stats(); len(texts) != 1 || s.DeadLetters != uint64(dead) || len(told) != min(dead, 1) {
		t.Errorf("ends %v; %d dead letters of %d, told %v", texts, s.DeadLetters, dead, told)
	}
	close(block)
	time.Sleep(time.Second)
	if s := to.Stats(); !sentBack && (s.Expired != n || s.Canceled > 0) {
		t.Errorf("expired %d of %d, canceled %d", s.Expired, n, s.Canceled)
	}
	atRest(t, from, to)
}
