package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// The programs of RECIPES.md.

// askAgain requests until there is an answer, or ctx ends: as long as no handler
// has run, which the error tells.
func askAgain[Resp any](ctx context.Context, eb *bus.EventBus, address string, body any) (Resp, error) {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		resp, err := bus.Request[Resp](ctx, eb, address, body)
		if !errors.Is(err, bus.ErrNoConsumer) && !errors.Is(err, bus.ErrBusy) {
			return resp, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return resp, err
		}
	}
}

// sweeper runs a job once for each period, at one node of all that have a
// sweeper: the owner of the key.
type sweeper struct {
	job  func(ctx context.Context, period int64) error
	last int64 // the period that ran last
}

func (s *sweeper) handle(ctx context.Context, period int64) error {
	if period <= s.last {
		return nil
	}
	if err := s.job(ctx, period); err != nil {
		return err
	}
	s.last = period
	return nil
}

// remind tells the owner that a period has begun. Each node does, so that the job
// runs for as long as any node lives.
func remind(ctx context.Context, eb *bus.EventBus, now time.Time, every time.Duration) error {
	return eb.Send(ctx, "sweep", now.UnixNano()/int64(every), bus.ByKey("sweep"))
}

// tellGroups gives an event once to each group of consumers, whatever its size.
func tellGroups(ctx context.Context, eb *bus.EventBus, topic string, groups []string, event any) error {
	var failed error
	for _, group := range groups {
		if err := eb.Send(ctx, topic+"/"+group, event); err != nil {
			failed = errors.Join(failed, fmt.Errorf("group %s: %w", group, err))
		}
	}
	return failed
}

// An outbox is a table beside the tables that it tells of.
type outbox interface {
	Pending(ctx context.Context, most int) ([]event, error) // the oldest first
	Done(ctx context.Context, id int64) error
}

type event struct {
	ID      int64
	Address string
	Body    string
}

// relay gives what is in the outbox to its consumers, in order. An event is done
// when its consumer has answered; what comes twice has the same id.
func relay(ctx context.Context, eb *bus.EventBus, box outbox) error {
	events, err := box.Pending(ctx, 100)
	if err != nil {
		return err
	}
	for _, e := range events {
		if _, err := eb.Request(ctx, e.Address, e); err != nil {
			return err // the next round begins with this one
		}
		if err := box.Done(ctx, e.ID); err != nil {
			return err
		}
	}
	return nil
}

func Example_retry() {
	eb := bus.New()
	defer eb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	time.AfterFunc(50*time.Millisecond, func() { // the service starts a little later
		_, _ = eb.Consume("price", bus.Respond(func(_ context.Context, sku string) (int, error) { return 42, nil }))
	})
	price, err := askAgain[int](ctx, eb, "price", "apple")
	fmt.Println(price, err)
	// Output: 42 <nil>
}

func Example_singletonByKey() {
	eb := bus.New()
	defer eb.Close()
	swept := make(chan struct{})
	s := sweeper{job: func(context.Context, int64) error {
		fmt.Println("swept")
		close(swept)
		return nil
	}}
	if _, err := eb.Consume("sweep", bus.Receive(s.handle)); err != nil {
		fmt.Println(err)
	}
	now := time.Now()
	for range 3 { // three nodes
		if err := remind(context.Background(), eb, now, time.Minute); err != nil {
			fmt.Println(err)
		}
	}
	<-swept
	// Output: swept
}

func Example_consumerGroups() {
	eb := bus.New()
	defer eb.Close()
	var handled sync.WaitGroup
	handled.Add(2)
	for _, group := range []string{"billing", "shipping"} {
		for range 2 { // two consumers in each group, of which one gets the event
			_, _ = eb.Consume("order.created/"+group, bus.Receive(func(_ context.Context, order string) error {
				defer handled.Done()
				fmt.Println(group, order)
				return nil
			}))
		}
	}
	if err := tellGroups(context.Background(), eb, "order.created", []string{"billing", "shipping"}, "o-17"); err != nil {
		fmt.Println(err)
	}
	handled.Wait()
	// Unordered output:
	// billing o-17
	// shipping o-17
}

// rows is an outbox in memory.
type rows []event

func (r *rows) Pending(context.Context, int) ([]event, error) { return *r, nil }

func (r *rows) Done(_ context.Context, id int64) error {
	*r = (*r)[1:]
	return nil
}

func Example_outbox() {
	eb := bus.New()
	defer eb.Close()
	_, _ = eb.Consume("order.created", bus.Respond(func(_ context.Context, e event) (any, error) {
		fmt.Println("event", e.ID, e.Body)
		return nil, nil
	}))
	box := rows{{1, "order.created", "o-17"}, {2, "order.created", "o-18"}}
	fmt.Println(relay(context.Background(), eb, &box), len(box), "left")
	// Output:
	// event 1 o-17
	// event 2 o-18
	// <nil> 0 left
}
