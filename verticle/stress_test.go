package verticle_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// life is one deployment of the stress test: a verticle with a child, a
// goroutine and a consumer that is ended in one of several ways, or at any
// moment.
type life struct {
	eb            *bus.EventBus
	address       string
	how           int
	r             *rand.Rand
	starts, stops int // guarded by the turn
	ended         sync.WaitGroup
}

const ways = 6

func (l *life) Start(ctx context.Context, d *verticle.Deployment) error {
	l.starts++
	if _, err := d.Consume(l.address, echo); err != nil {
		return err
	}
	l.ended.Add(1)
	pause := time.Duration(l.r.IntN(2000)) * time.Microsecond
	d.Go(func(ctx context.Context) error {
		defer l.ended.Done()
		if l.how == 1 {
			time.Sleep(pause)
			return errTest
		}
		<-ctx.Done()
		return ctx.Err()
	})
	_, err := d.Deploy(ctx, verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		_, err := d.Consume(l.address+".child", echo)
		return err
	}), verticle.WithName("child"))
	if err != nil {
		return err
	}
	switch l.how {
	case 2:
		return errTest
	case 3:
		panic("of the test")
	case 4:
		go d.Undeploy(context.Background())
	}
	return nil
}

func (l *life) Stop(context.Context) error { l.stops++; return nil }

// live deploys the verticle, and sees it end.
func (l *life) live(t *testing.T) {
	d, err := verticle.Deploy(t.Context(), l.eb, l, verticle.WithLogger(quiet))
	switch l.how {
	case 2:
		wantErr(t, err, errTest)
	case 3:
		wantErr(t, err, verticle.ErrPanic)
	case 1, 4: // depends on who is faster
	default:
		if err != nil {
			t.Error(err)
		}
	}
	if err == nil {
		l.use(t, d)
	}
	l.ended.Wait()
	if l.stops > l.starts || err == nil && l.stops != l.starts {
		t.Errorf("way %d: %d starts, %d stops", l.how, l.starts, l.stops)
	}
	wantNoConsumer(t, l.eb, l.address)
	wantNoConsumer(t, l.eb, l.address+".child")
}

// use sends requests to the deployment until it has ended.
func (l *life) use(t *testing.T, d *verticle.Deployment) {
	var wg sync.WaitGroup
	if l.how != 1 && l.how != 4 { // the others end by themselves
		for range 3 {
			pause := time.Duration(l.r.IntN(2000)) * time.Microsecond
			wg.Go(func() {
				time.Sleep(pause)
				if err := d.Undeploy(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	for !isClosed(d.Done()) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		for _, a := range []string{l.address, l.address + ".child"} {
			_, err := bus.Request[string](ctx, l.eb, a, "x")
			// What a closing consumer sent back waits for another, in vain.
			if err != nil && !errors.Is(err, bus.ErrNoConsumer) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("way %d: request: %v", l.how, err)
			}
		}
		cancel()
		time.Sleep(50 * time.Microsecond) // virtual: lets time pass when there is no consumer
	}
	wg.Wait()
	if err := d.Err(); l.how == 1 {
		wantErr(t, err, errTest)
	} else if err != nil {
		t.Errorf("way %d: %v", l.how, err)
	}
}

// TestStress lives many lives, by several goroutines on one bus.
func TestStress(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, eb *bus.EventBus) {
		var wg sync.WaitGroup
		for g := range 10 {
			wg.Go(func() {
				l := &life{eb: eb, address: fmt.Sprint("life.", g), r: rand.New(rand.NewPCG(1, uint64(g)))}
				for i := range 50 {
					l.how, l.starts, l.stops = (i+g)%ways, 0, 0
					l.live(t)
				}
			})
		}
		wg.Wait()
	})
}
