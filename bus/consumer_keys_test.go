package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// keyLog is what handlers of messages have begun, whose bodies begin with their key.
type keyLog struct {
	mu      sync.Mutex
	begun   map[string][]string // by key, in order
	running map[string]int      // by key
	all     int                 // that run
	most    int
	twice   []string // bodies that were begun beside another of their key
}

func newKeyLog() *keyLog { return &keyLog{begun: map[string][]string{}, running: map[string]int{}} }

func (l *keyLog) handle(body string, run func()) {
	key, _, _ := strings.Cut(body, " ")
	l.mu.Lock()
	l.begun[key] = append(l.begun[key], body)
	if l.running[key]++; l.running[key] > 1 && key != "" {
		l.twice = append(l.twice, body)
	}
	l.all++
	l.most = max(l.most, l.all)
	l.mu.Unlock()
	run()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[key]--
	l.all--
}

// check checks that n messages of each key came in order, one at a time.
func (l *keyLog) check(t *testing.T, n int, keys ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.twice != nil {
		t.Errorf("begun beside another of its key: %q", l.twice)
	}
	for _, key := range keys {
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint(key, " ", i))
		}
		if !slices.Equal(l.begun[key], want) {
			t.Errorf("%s: begun %q", key, l.begun[key])
		}
	}
}

// A consumer that handles several messages at once handles those of one key one after the
// other, in the order sent, and those of other keys, and of none, beside them.
func TestOneKeyOneAtATime(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		log := newKeyLog()
		consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
			log.handle(string(m.Body), func() { time.Sleep(time.Millisecond) })
			return nil
		}, bus.WithConcurrency(4))
		var asks sync.WaitGroup
		for i := range 40 {
			for _, key := range []string{"k", "l", "m"} {
				body := []byte(fmt.Sprint(key, " ", i))
				if i%2 == 0 {
					if err := p.from.Send(t.Context(), "a", body, bus.ByKey(key)); err != nil {
						t.Fatal(err)
					}
					continue
				}
				placed := make(chan struct{})
				asks.Go(func() {
					if _, err := p.from.Request(t.Context(), "a", body, bus.ByKey(key), bus.Placed(func() { close(placed) })); err != nil {
						t.Error(err)
					}
				})
				<-placed
			}
			if err := p.from.Send(t.Context(), "a", []byte(" ")); err != nil {
				t.Fatal(err)
			}
		}
		asks.Wait()
		synctest.Wait()
		atRest(t, p.from, p.to)
		log.check(t, 40, "k", "l", "m")
		if log.most != 4 || len(log.begun[""]) != 40 {
			t.Errorf("%d at once; %d without a key", log.most, len(log.begun[""]))
		}
	})
}

// A key whose handler is slow holds up neither others nor messages without a key, and takes
// one of the consumer's places.
func TestSlowKeyHoldsUpNoOther(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		log, release := newKeyLog(), make(chan struct{})
		consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
			log.handle(string(m.Body), func() {
				if strings.HasPrefix(string(m.Body), "slow") {
					<-release
				}
			})
			return nil
		}, bus.WithConcurrency(2))
		for i := range 20 {
			for _, key := range []string{"slow", "fast"} {
				if err := p.from.Send(t.Context(), "a", []byte(fmt.Sprint(key, " ", i)), bus.ByKey(key)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := p.from.Request(t.Context(), "a", []byte(" ")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		log.check(t, 20, "fast")
		log.check(t, 1, "slow")
		close(release)
		synctest.Wait()
		log.check(t, 20, "slow")
	})
}

// What is held for a key is sent back in order when the consumer closes, and waits in order
// through a pause.
func TestHeldForAKeyWhenItsConsumerCloses(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		log, release := newKeyLog(), make(chan struct{})
		handle := func(_ context.Context, m *bus.Message) error {
			log.handle(string(m.Body), func() { <-release })
			return nil
		}
		c := consume(t, p.to, "a", handle, bus.WithConcurrency(3))
		for i := range 10 {
			for _, key := range []string{"k", "l"} {
				if err := p.from.Send(t.Context(), "a", []byte(fmt.Sprint(key, " ", i)), bus.ByKey(key)); err != nil {
					t.Fatal(err)
				}
			}
		}
		synctest.Wait()
		log.check(t, 1, "k", "l")
		c.Pause()
		release <- struct{}{}
		synctest.Wait()
		if log.all != 1 || len(log.begun["k"])+len(log.begun["l"]) != 2 {
			t.Errorf("a paused consumer began %v", log.begun)
		}
		c.Resume()
		synctest.Wait()
		if log.all != 2 || len(log.begun["k"])+len(log.begun["l"]) != 3 {
			t.Errorf("a resumed consumer began %v", log.begun)
		}
		c.Close()
		close(release)
		synctest.Wait()
		consume(t, p.to, "a", handle, bus.WithConcurrency(3))
		synctest.Wait()
		atRest(t, p.from, p.to)
		log.check(t, 10, "k", "l")
	})
}

// The turn of a key is passed on however its handler ends; a deferred answer does not keep
// it. A request that was given up while it was held is not handled.
func TestTurnOfAKeyIsPassedOn(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		log, begin := newKeyLog(), make(chan struct{})
		var deferred *bus.Message
		consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
			body := string(m.Body)
			log.handle(body, func() { <-begin })
			switch body {
			case "k 0":
				panic("boom")
			case "k 1":
				runtime.Goexit()
			case "k 2":
				deferred = m
				return m.Defer()
			case "k 3":
				return errors.New("no")
			}
			return nil
		}, bus.WithConcurrency(2), bus.Deferring())
		ask := func(ctx context.Context, body string) chan error {
			end := make(chan error, 1)
			go func() {
				_, err := p.from.Request(ctx, "a", []byte(body), bus.ByKey("k"))
				end <- err
			}()
			synctest.Wait()
			return end
		}
		var ends []chan error
		for i := range 4 {
			ends = append(ends, ask(t.Context(), fmt.Sprint("k ", i)))
		}
		ctx, cancel := context.WithCancel(t.Context())
		given := ask(ctx, "k given up")
		ends = append(ends, ask(t.Context(), "k 4"))
		cancel()
		if err := <-given; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for range 5 {
			synctest.Wait()
			begin <- struct{}{}
		}
		synctest.Wait()
		log.check(t, 5, "k")
		if err := deferred.Reply(t.Context(), nil); err != nil {
			t.Error(err)
		}
		for i, end := range ends {
			if err := <-end; (err == nil) != (i == 2 || i == 4) {
				t.Errorf("%d: %v", i, err)
			}
		}
		atRest(t, p.from, p.to)
	})
}
