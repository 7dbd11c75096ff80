package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/runrig-go/runrig/bus"
)

func ExampleWithHeader() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("a", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		fmt.Println(m.Header().Get("trace"), m.Header().Values("tag"))
		return nil
	}))
	_, err := eb.Request(context.Background(), "a", nil,
		bus.WithHeader("Trace", "4bf92f"), bus.WithHeader("Tag", "x"), bus.WithHeader("Tag", "y"))
	fmt.Println(err)
	// Output:
	// 4bf92f [x y]
	// <nil>
}

// A request that may be handled twice survives the loss of a link: it goes to
// another consumer.
func ExampleIdempotent() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("balance", bus.Respond(func(ctx context.Context, account string) (int, error) { return 100, nil }))
	n, err := bus.Request[int](context.Background(), eb, "balance", "ada", bus.Idempotent())
	fmt.Println(n, err)
	fmt.Println(eb.Send(context.Background(), "balance", "ada", bus.Idempotent()))
	// Output:
	// 100 <nil>
	// bus: option Idempotent does not fit Send; it is for Request
}

func ExampleGossip() {
	eb := bus.New() // of a cluster, it reaches consumers without links
	defer eb.Close()
	done := make(chan struct{})
	eb.Consume("notices", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		fmt.Println(string(m.Body), "via", m.Via())
		close(done)
		return nil
	}))
	err := eb.Publish(context.Background(), "notices", "cache is stale", bus.Gossip())
	<-done
	fmt.Println(err)
	err = eb.Publish(context.Background(), "notices", make([]byte, 2000), bus.Gossip())
	fmt.Println(errors.Is(err, bus.ErrTooLarge))
	// Output:
	// "cache is stale" via gossip
	// <nil>
	// true
}

// busy registers a consumer that handles nothing before release is called, and
// fills its window.
func busy(eb *bus.EventBus, address string) (release func()) {
	began, block := make(chan struct{}, 10), make(chan struct{})
	eb.Consume(address, bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		began <- struct{}{}
		<-block
		return nil
	}), bus.WithWindow(1<<10))
	eb.Send(context.Background(), address, make([]byte, 1<<10))
	<-began
	return func() { close(block) }
}

// Each call has 20 ms, by one option and one timer for all.
func ExampleWithin() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("slow", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	soon := bus.Within(20 * time.Millisecond)
	_, err := eb.Request(context.Background(), "slow", nil, soon)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

func ExampleNoWait() {
	eb := bus.New()
	defer eb.Close()
	release := busy(eb, "ticks")
	defer release()
	// A consumer without room misses the tick, and the publisher loses no time.
	err := eb.Publish(context.Background(), "ticks", "tick", bus.NoWait())
	fmt.Println(err, eb.Stats().Skipped)
	// Output: <nil> 1
}

func ExampleLocalOnly() {
	eb := bus.New()
	defer eb.Close()
	// Other nodes do not learn of this consumer, and the request stays on this one.
	eb.Consume("cache", bus.Respond(func(ctx context.Context, key string) (string, error) {
		return "value of " + key, nil
	}), bus.LocalOnly())
	v, err := bus.Request[string](context.Background(), eb, "cache", "k", bus.LocalOnly())
	fmt.Println(v, err)
	// Output: value of k <nil>
}

// A cache on this node is better than one elsewhere, which is better than none.
func ExampleLocalFirst() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("cache", bus.Respond(func(ctx context.Context, key string) (string, error) {
		return "value of " + key, nil
	}))
	v, err := bus.Request[string](context.Background(), eb, "cache", "k", bus.LocalFirst())
	fmt.Println(v, err)
	// Output: value of k <nil>
}

// Consumers in this node's zone save the traffic between zones.
func ExampleSameTag() {
	eb := bus.New() // of a node whose cluster.Config has a tag "zone"
	defer eb.Close()
	eb.Consume("resize", bus.Respond(func(ctx context.Context, width int) (string, error) {
		return fmt.Sprint(width, " wide"), nil
	}))
	// With LocalFirst: this node, then this zone, then the others.
	v, err := bus.Request[string](context.Background(), eb, "resize", 640, bus.LocalFirst(), bus.SameTag("zone"))
	fmt.Println(v, err)
	// Output: 640 wide <nil>
}

// Each account is one consumer's at a time, which sees its bookings in order.
func ExampleByKey() {
	eb := bus.New()
	defer eb.Close()
	for range 3 {
		balances := map[string]int{} // of the accounts that are this consumer's
		eb.Consume("book", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			account, amount := m.Header().Get("account"), 0
			if err := m.Decode(&amount); err != nil {
				return err
			}
			balances[account] += amount
			return m.Reply(ctx, balances[account])
		}))
	}
	for i := range 6 {
		account := []string{"ada", "bob"}[i%2]
		balance, err := bus.Request[int](context.Background(), eb, "book", 10*(i+1), bus.ByKey(account), bus.WithHeader("account", account))
		fmt.Println(account, balance, err)
	}
	// Output:
	// ada 10 <nil>
	// bob 20 <nil>
	// ada 40 <nil>
	// bob 60 <nil>
	// ada 90 <nil>
	// bob 120 <nil>
}

func ExampleWithWindow() {
	eb := bus.New()
	defer eb.Close()
	block := make(chan struct{})
	defer close(block)
	eb.Consume("slow", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		<-block
		return nil
	}), bus.WithWindow(4<<10))
	ctx, cancel := context.WithCancel(context.Background())
	send := func() error { return eb.Send(ctx, "slow", make([]byte, 1000)) } // 1,128 with its overhead
	fmt.Println(send(), send(), send(), send())
	time.AfterFunc(time.Millisecond, cancel)
	fmt.Println(send())
	// Output:
	// <nil> <nil> <nil> <nil>
	// bus: busy: no consumer of "slow" had room in time: context canceled
}

func ExampleWithConcurrency() {
	eb := bus.New()
	defer eb.Close()
	square := bus.Respond(func(ctx context.Context, n int) (int, error) { return n * n, nil })
	_, err := eb.Consume("square", square, bus.WithConcurrency(8)) // up to eight at once
	fmt.Println(err)
	n, err := bus.Request[int](context.Background(), eb, "square", 12)
	fmt.Println(n, err)
	// Output:
	// <nil>
	// 144 <nil>
}

// A message that no consumer has handled, and no other can, is among the events.
func ExampleWithEvents() {
	dead := make(chan struct{})
	eb := bus.New(quiet, bus.WithEvents(func(e bus.Event) {
		switch e := e.(type) {
		case bus.ConsumerOpened:
			fmt.Println(e.Address, "is open")
		case bus.DeadLetter:
			fmt.Printf("%s to %s: %v\n", e.Body, e.Address, errors.Is(e.Reason, bus.ErrNoConsumer))
			close(dead)
		case bus.ConsumerClosed:
			fmt.Println(e.Address, "is closed")
		}
	}))
	began := make(chan struct{})
	eb.Consume("orders", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		close(began)
		<-dead
		return nil
	}))
	for _, order := range []string{"pizza", "pasta"} {
		eb.Send(context.Background(), "orders", order)
	}
	<-began // of the first; the second waits
	fmt.Println(eb.Close())
	// Output:
	// orders is open
	// "pasta" to orders: true
	// orders is closed
	// <nil>
}

// A log of what is published takes nothing away from those who do the work.
func ExamplePublishedOnly() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("orders", bus.Respond(func(ctx context.Context, order string) (string, error) {
		return "packed " + order, nil
	}))
	seen := make(chan string, 1)
	eb.Consume("orders", bus.Receive(func(ctx context.Context, s string) error {
		seen <- s
		return nil
	}), bus.PublishedOnly())
	for _, order := range []string{"tea", "milk"} { // both to the same, as there is no other that takes turns
		fmt.Println(bus.Request[string](context.Background(), eb, "orders", order))
	}
	eb.Publish(context.Background(), "orders", "no more today")
	fmt.Println("seen:", <-seen)
	// Output:
	// packed tea <nil>
	// packed milk <nil>
	// seen: no more today
}

func ExampleWithDrainTimeout() {
	eb := bus.New(bus.WithDrainTimeout(10 * time.Millisecond))
	began := make(chan struct{})
	eb.Consume("stuck", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		close(began)
		<-ctx.Done() // when the drain time is over
		return nil
	}))
	eb.Send(context.Background(), "stuck", nil)
	<-began
	fmt.Println(eb.Close())
	// Output: bus: drain time is over after 10ms (WithDrainTimeout): 1 consumers still handle messages of "stuck", 0 messages wait for a consumer
}

func ExampleWithLogger() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	eb := bus.New(bus.WithLogger(log))
	eb.Consume("a", bus.Receive(func(ctx context.Context, s string) error { return errors.New("the disk is full") }))
	eb.Send(context.Background(), "a", "x")
	eb.Request(context.Background(), "a", "y") // when it is answered, the first one was handled
	eb.Close()
	// Output: level=WARN msg="handler failed" address=a peer="" err="the disk is full"
}
