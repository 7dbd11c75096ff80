package bus_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// lost collects what two buses tell of losses.
type lost struct {
	mu    sync.Mutex
	log   bytes.Buffer
	count map[bus.Loss]int
	lags  int
}

func (l *lost) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(b)
}

func (l *lost) options() []bus.Option {
	l.count = map[bus.Loss]int{}
	return []bus.Option{bus.WithLogger(slog.New(slog.NewTextHandler(l, nil))), bus.WithDrainTimeout(time.Second), bus.WithEvents(func(e bus.Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch e := e.(type) {
		case bus.MessagesLost:
			if e.Address == "a" {
				l.count[e.Loss] += e.Count
			}
		case bus.ConsumerLags:
			l.lags++
		}
	})}
}

// check checks that so many were told of, and that the log has the words, but in few
// lines.
func (l *lost) check(t *testing.T, loss bus.Loss, n uint64) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n == 0 || uint64(l.count[loss]) != n {
		t.Errorf("%v: %d were lost, %d are told of", loss, n, l.count[loss])
	}
	lines := strings.Count(l.log.String(), `level=WARN msg="messages `+loss.String())
	if lines == 0 || lines > 12 {
		t.Errorf("%v: %d lines: %s", loss, lines, &l.log)
	}
}

// Each loss that no caller is told of is told by events, all of them, and in the log,
// sparsely.
func TestLossesAreTold(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, c *bustest.Cluster, l *lost){
		"expired": func(t *testing.T, c *bustest.Cluster, l *lost) {
			consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { time.Sleep(3 * time.Second); return nil })
			for range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				_ = c.Bus(0).Send(ctx, "a", nil)
				cancel()
			}
			time.Sleep(10 * time.Second)
			l.check(t, bus.LossExpired, c.Bus(1).Stats().Expired)
			if l.lags != 1 {
				t.Errorf("that the consumer lags is told %d times", l.lags)
			}
		},
		"link": func(t *testing.T, c *bustest.Cluster, l *lost) {
			block := make(chan struct{})
			defer close(block)
			consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil })
			for range 20 {
				if err := c.Bus(0).Send(t.Context(), "a", nil); err != nil {
					t.Fatal(err)
				}
			}
			go func() { _, _ = c.Bus(0).Request(t.Context(), "a", nil) }() // who is told
			synctest.Wait()
			c.Break(0, 1)
			time.Sleep(3 * time.Second)
			l.check(t, bus.LossUnknown, c.Bus(0).Stats().Unknown-1)
			l.check(t, bus.LossCutOff, c.Bus(1).Stats().CutOff)
		},
		"publish": func(t *testing.T, c *bustest.Cluster, l *lost) {
			block := make(chan struct{})
			defer close(block)
			consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(1<<10))
			for range 1000 {
				if err := c.Bus(0).Publish(t.Context(), "a", nil); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(3 * time.Second)
			l.check(t, bus.LossSkipped, c.Bus(0).Stats().Skipped)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var l lost
				test(t, bustest.NewCluster(t, 2, l.options()...), &l)
			})
		})
	}
}
