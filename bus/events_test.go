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
	"github.com/runrig-go/runrig/bus/bustest"
)

// told is what happened, in words.
type told struct {
	mu   sync.Mutex
	list []string
}

func (l *told) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, s)
}

func (l *told) event(e bus.Event) {
	switch e := e.(type) {
	case bus.PeerUp:
		l.add("up " + e.Peer.Name)
	case bus.PeerDown:
		switch {
		case e.Err == nil:
			l.add("goodbye " + e.Peer.Name)
		case errors.Is(e.Err, bus.ErrClosed):
			l.add("left " + e.Peer.Name)
		default:
			l.add("down " + e.Peer.Name)
		}
	case bus.ConsumerOpened:
		l.add("open " + e.Address)
	case bus.ConsumerClosed:
		l.add("closed " + e.Address)
	case bus.ConsumerLags:
		l.add("lags " + e.Address + " " + e.Peer.Name)
	case bus.DeadLetter:
		l.add("dead " + e.Address)
	case bus.EventsMissed:
		l.add(fmt.Sprint("missed ", e.Count))
	}
}

func (l *told) want(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.list, want) {
		t.Errorf("told %q; want %q", l.list, want)
	}
	l.list = nil
}

// A node's events of its links come in order, each link's up before its down.
func TestEventsOfPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l told
		eb := bus.New(quiet, bus.WithEvents(l.event))
		attachment, _ := eb.Attach(bus.Peer{Name: "a", Boot: 100}, nil)
		join := func() (*bustest.Conn, <-chan error) {
			there := bus.New(quiet)
			lb, _ := there.Attach(bus.Peer{Name: "b", Boot: 200}, nil)
			ca, cb := bustest.Pipe()
			ended := make(chan error, 1)
			go func() { ended <- attachment.ServeLink(context.Background(), bus.Peer{Name: "b", Boot: 200}, ca, nil) }()
			go lb.ServeLink(context.Background(), bus.Peer{Name: "a", Boot: 100}, cb, nil)
			synctest.Wait()
			t.Cleanup(func() { there.Close() })
			if len(eb.Peers()) == 1 {
				l.want(t, "up b")
			}
			return ca, ended
		}
		conn, ended := join()
		conn.Reset()
		receive(t, ended)
		synctest.Wait()
		l.want(t, "down b")
		_, ended = join()
		eb.Close()
		receive(t, ended)
		l.want(t, "left b") // before Close has returned
	})
	synctest.Test(t, func(t *testing.T) {
		var l told
		c := bustest.NewCluster(t, 1, quiet, bus.WithEvents(func(e bus.Event) {
			if p, ok := e.(bus.PeerDown); ok && p.Peer.Name == "n1" || !ok {
				l.event(e)
			}
		}))
		c.Add()
		c.Bus(1).Close()
		synctest.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if !slices.Contains(l.list, "goodbye n1") {
			t.Errorf("told %q", l.list)
		}
	})
}

// A consumer is told to be open once messages may come, and closed when its last
// handler has returned, however it was closed.
func TestEventsOfConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l told
		eb := bus.New(quiet, bus.WithEvents(l.event))
		block := make(chan struct{})
		idle := consume(t, eb, "idle", nothing)
		busy := consume(t, eb, "busy", func(context.Context, *bus.Message) error { <-block; l.add("returned"); return nil }, bus.WithConcurrency(2))
		own := make(chan *bus.Consumer, 1)
		own <- consume(t, eb, "own", func(context.Context, *bus.Message) error {
			c := <-own
			c.Close()
			time.Sleep(time.Second)
			l.add("returned")
			return nil
		})
		s := eb.Scope()
		s.Do(t.Context(), func(context.Context) error {
			_, err := s.Consume("staged", bus.HandlerFunc(nothing))
			synctest.Wait()
			l.add("done")
			return err
		})
		s.Do(t.Context(), func(context.Context) error {
			_, _ = s.Consume("never", bus.HandlerFunc(nothing))
			return errors.New("no")
		})
		synctest.Wait()
		l.want(t, "open idle", "open busy", "open own", "done", "open staged")
		idle.Close()
		idle.Close()
		send(t, eb, "busy", "x", "y")
		synctest.Wait()
		busy.Close()
		synctest.Wait()
		l.want(t, "closed idle")
		block <- struct{}{}
		synctest.Wait()
		l.want(t, "returned")
		block <- struct{}{}
		synctest.Wait()
		l.want(t, "returned", "closed busy")
		send(t, eb, "own", "x")
		time.Sleep(2 * time.Second)
		l.want(t, "returned", "closed own")
		eb.Close()
		l.want(t, "closed staged")
	})
}

// A consumer whose worker has yet to begin when it is closed is told to be closed
// once.
func TestEventsTellThatAConsumerIsClosedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l told
		eb := bus.New(quiet, bus.WithEvents(l.event))
		defer eb.Close()
		scope := eb.Scope()
		c := consume(t, scope, "a", nothing)
		err := scope.Do(t.Context(), func(ctx context.Context) error {
			if err := eb.Send(ctx, "a", nil); err != nil {
				return err
			}
			return c.Close()
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // past the message's deadline
		synctest.Wait()
		l.want(t, "open a", "closed a", "dead a")
	})
}

// A consumer that lags is told of once for each time.
func TestEventsOfLaggards(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		var l told
		events := bus.WithEvents(l.event)
		c := bustest.NewCluster(t, 2, quiet, events)
		from, to, peer := c.Bus(0), c.Bus(1), " n1"
		if !p.linked {
			from, peer = to, " "
		}
		cn := consume(t, to, "a", nothing, bus.WithWindow(1<<10))
		synctest.Wait()
		l.list = nil
		for range 2 {
			cn.Pause()
			for range 20 {
				from.Publish(t.Context(), "a", nil)
			}
			synctest.Wait()
			l.want(t, "lags a"+peer)
			cn.Resume()
			time.Sleep(time.Second)
		}
	})
}

// What too many wait for is counted, in its place.
func TestEventsAreBounded(t *testing.T) {
	const most = 4096
	for name, tt := range map[string]struct {
		letter int
		header int
		n      int
		told   int
	}{
		"number":  {0, 0, most + 10, most},
		"bytes":   {64 << 10, 0, 100, 64},
		"headers": {0, 16<<10 - 1, 300, (4 << 20) / (16<<10 + 512)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				block, blocked := make(chan struct{}), make(chan struct{})
				var l told
				var once sync.Once
				eb := bus.New(quiet, bus.WithEvents(func(e bus.Event) {
					once.Do(func() { close(blocked) })
					<-block
					l.event(e)
				}))
				handler := make(chan struct{})
				c := consume(t, eb, "a", growing(func(context.Context, *bus.Message) error { <-handler; return nil }),
					bus.WithWindow(64<<20), bus.WithConcurrency(2))
				<-blocked
				holdWindow(t, eb, "a", 8<<20)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var wg sync.WaitGroup
				var opts []bus.CallOption
				if tt.header > 0 {
					opts = append(opts, bus.WithHeader("k", strings.Repeat("v", tt.header)))
				}
				for range tt.n {
					wg.Go(func() { eb.Send(ctx, "a", make([]byte, tt.letter), opts...) })
				}
				synctest.Wait()
				c.Close()
				close(handler)
				eb.Close() // after a second, though its events are stuck
				wg.Wait()
				close(block)
				synctest.Wait()
				letters, missed := 0, 0
				for _, s := range l.list {
					if s == "dead a" {
						letters++
					}
					if k, ok := strings.CutPrefix(s, "missed "); ok {
						var n int
						fmt.Sscan(k, &n)
						missed += n
					}
				}
				dead := int(eb.Stats().DeadLetters)
				if l.list[0] != "open a" || letters > tt.told || letters < tt.told-1 || missed == 0 || letters+missed < dead {
					t.Errorf("%d dead letters, %d told, %d missed; first %s", dead, letters, missed, l.list[0])
				}
			})
		})
	}
}

// Each function is told all events, in the order of the options, whatever others
// of them do.
func TestEventsOfSeveralFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l told
		fails := func(name string, fail func()) bus.Option {
			return bus.WithEvents(func(e bus.Event) {
				if c, ok := e.(bus.ConsumerOpened); ok {
					l.add(name + " " + c.Address)
					fail()
				}
			})
		}
		eb := bus.New(quiet, fails("first", func() { panic("no") }), fails("second", runtime.Goexit),
			bus.WithEvents(nil), bus.WithEvents(l.event))
		consume(t, eb, "a", nothing).Close()
		consume(t, eb, "b", nothing)
		eb.Close()
		l.want(t, "first a", "second a", "open a", "closed a", "first b", "second b", "open b", "closed b")
	})
}

// What the function does wrong does not end the events, nor the bus.
func TestEventFunctionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l told
		var eb *bus.EventBus
		eb = bus.New(quiet, bus.WithEvents(func(e bus.Event) {
			l.event(e)
			switch e := e.(type) {
			case bus.ConsumerOpened:
				switch e.Address {
				case "panics":
					panic("no")
				case "exits":
					runtime.Goexit()
				case "opens another":
					c, _ := eb.Consume("another", bus.HandlerFunc(nothing))
					c.Close()
				case "closes":
					begin := time.Now()
					if eb.Close(); time.Since(begin) > time.Second {
						t.Errorf("Close took %v", time.Since(begin))
					}
				}
			}
		}))
		addresses := []string{"panics", "exits", "opens another", "closes"}
		for _, a := range addresses[:3] {
			consume(t, eb, a, nothing).Close()
			synctest.Wait()
		}
		consume(t, eb, "closes", nothing)
		<-eb.Done()
		synctest.Wait()
		l.want(t, "open panics", "closed panics", "open exits", "closed exits",
			"open opens another", "closed opens another", "open another", "closed another", "open closes", "closed closes")
	})
}
