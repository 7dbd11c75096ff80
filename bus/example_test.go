package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

func Example() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("greet", bus.Respond(func(ctx context.Context, name string) (string, error) {
		return "hello, " + name, nil
	}))
	hi, err := bus.Request[string](context.Background(), eb, "greet", "ada")
	fmt.Println(hi, err)
	// Output: hello, ada <nil>
}

func ExampleNew() {
	eb := bus.New(bus.WithDrainTimeout(5 * time.Second))
	defer eb.Close()
	err := eb.Send(context.Background(), "greet", "ada")
	fmt.Println(err)
	// Output: bus: no consumer of "greet"
}

func ExampleEventBus_Consume() {
	eb := bus.New()
	defer eb.Close()
	done := make(chan struct{})
	eb.Consume("orders", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		fmt.Printf("%s at %s, via %v\n", m.Body, m.Address(), m.Via())
		close(done)
		return nil
	}))
	eb.Send(context.Background(), "orders", []byte("one pizza"))
	<-done
	// Output: one pizza at orders, via local
}

func ExampleEventBus_Send() {
	eb := bus.New()
	defer eb.Close()
	got := make(chan int)
	eb.Consume("numbers", bus.Receive(func(ctx context.Context, n int) error {
		got <- n
		return nil
	}))
	go func() {
		for n := range 3 {
			eb.Send(context.Background(), "numbers", n)
		}
	}()
	fmt.Println(<-got, <-got, <-got) // in the order sent
	// Output: 0 1 2
}

func ExampleEventBus_Publish() {
	eb := bus.New()
	defer eb.Close()
	got := make(chan string)
	for range 2 {
		eb.Consume("news", bus.Receive(func(ctx context.Context, s string) error {
			got <- s
			return nil
		}))
	}
	err := eb.Publish(context.Background(), "news", "rain tomorrow")
	fmt.Println(<-got, "/", <-got, err)
	fmt.Println(eb.Publish(context.Background(), "nobody listens", nil))
	// Output:
	// rain tomorrow / rain tomorrow <nil>
	// <nil>
}

func ExampleEventBus_Request() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("upper", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		return m.Reply(ctx, []byte(strings.ToUpper(string(m.Body))))
	}))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := eb.Request(ctx, "upper", []byte("ada"))
	fmt.Printf("%s %v\n", reply.Body, err)
	// Output: ADA <nil>
}

// A request ends with its context.
func ExampleEventBus_Request_deadline() {
	eb := bus.New()
	defer eb.Close()
	over := make(chan struct{})
	defer close(over)
	eb.Consume("slow", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		<-over
		return nil
	}))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err := eb.Request(ctx, "slow", nil)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

// When the requester gives up, so may the handler.
func ExampleEventBus_Request_cancel() {
	eb := bus.New()
	defer eb.Close()
	ctx, cancel := context.WithCancel(context.Background())
	gaveUp, over := make(chan error), make(chan struct{})
	eb.Consume("slow", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		cancel() // as the requester would
		<-ctx.Done()
		gaveUp <- ctx.Err()
		<-over
		return nil
	}))
	_, err := eb.Request(ctx, "slow", nil)
	fmt.Println(err)
	fmt.Println(<-gaveUp)
	close(over)
	// Output:
	// bus: request to "slow": given up (its handler runs): context canceled
	// context canceled
}

func ExampleRequest() {
	eb := bus.New()
	defer eb.Close()
	type point struct{ X, Y int }
	eb.Consume("mirror", bus.Respond(func(ctx context.Context, p point) (point, error) {
		return point{p.Y, p.X}, nil
	}))
	p, err := bus.Request[point](context.Background(), eb, "mirror", point{1, 2})
	fmt.Println(p, err)
	// Output: {2 1} <nil>
}

// Bodies may be protobuf messages, passed by pointer.
func ExampleRequest_protobuf() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("next", bus.Respond(func(ctx context.Context, n *wrapperspb.Int64Value) (*wrapperspb.Int64Value, error) {
		return wrapperspb.Int64(n.Value + 1), nil
	}))
	n, err := bus.Request[*wrapperspb.Int64Value](context.Background(), eb, "next", wrapperspb.Int64(41))
	fmt.Println(n.GetValue(), err)
	// Output: 42 <nil>
}

func ExampleRespond() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("half", bus.Respond(func(ctx context.Context, n int) (int, error) {
		if n%2 != 0 {
			return 0, fmt.Errorf("%d is odd", n)
		}
		return n / 2, nil
	}))
	for _, body := range []any{84, 7, "seven"} {
		n, err := bus.Request[int](context.Background(), eb, "half", body)
		if no := new(bus.ReplyError); errors.As(err, &no) {
			fmt.Println("code", no.Code)
		} else {
			fmt.Println(n)
		}
	}
	// Output:
	// 42
	// code -1
	// code -3
}

func ExampleReceive() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("log", bus.Receive(func(ctx context.Context, line string) error {
		fmt.Println(line)
		return nil
	}))
	// A request of a consumer that gives no reply waits until it has handled it.
	_, err := eb.Request(context.Background(), "log", "started")
	fmt.Println(err)
	// Output:
	// started
	// <nil>
}

func ExampleMessage_Reply() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("add", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		var ns [2]int
		if err := m.Decode(&ns); err != nil {
			return err
		}
		return m.Reply(ctx, ns[0]+ns[1], bus.WithHeader("unit", "apples"))
	}))
	m, err := eb.Request(context.Background(), "add", [2]int{2, 3})
	fmt.Println(string(m.Body), m.Header().Get("unit"), err)
	// Output: 5 apples <nil>
}

func ExampleMessage_Decode() {
	eb := bus.New()
	defer eb.Close()
	eb.Consume("any", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		var user struct{ Name string }
		err := m.Decode(&user)
		fmt.Println(user.Name, err)
		return nil
	}))
	ctx := context.Background()
	eb.Request(ctx, "any", map[string]string{"name": "ada"})
	eb.Request(ctx, "any", nil) // an empty body leaves it as it is
	eb.Request(ctx, "any", []byte("bytes"))
	// Output:
	// ada <nil>
	//  <nil>
	//  bus: body of codec bytes cannot be decoded into *struct { Name string } (a message to "any")
}

func ExampleEventBus_Scope() {
	eb := bus.New()
	defer eb.Close()
	scope := eb.Scope()
	count := 0 // needs no lock: the two take turns
	for _, address := range []string{"up", "also up"} {
		scope.Consume(address, bus.Respond(func(ctx context.Context, by int) (int, error) {
			count += by
			return count, nil
		}))
	}
	bus.Request[int](context.Background(), eb, "up", 2)
	n, err := bus.Request[int](context.Background(), eb, "also up", 3)
	fmt.Println(n, err)
	// Output: 5 <nil>
}

func ExampleEventBus_Do() {
	eb := bus.New()
	defer eb.Close()
	scope := eb.Scope()
	var greeting string
	err := scope.Do(context.Background(), func(ctx context.Context) error {
		_, err := scope.Consume("greet", bus.Respond(func(ctx context.Context, name string) (string, error) {
			return greeting + ", " + name, nil
		}))
		greeting = "hello" // no message comes before Do has returned
		return err
	})
	hi, _ := bus.Request[string](context.Background(), eb, "greet", "ada")
	fmt.Println(hi, err)
	// Output: hello, ada <nil>
}

func ExampleConsumer_Close() {
	eb := bus.New()
	defer eb.Close()
	c, _ := eb.Consume("greet", bus.Receive(func(ctx context.Context, name string) error { return nil }))
	fmt.Println(eb.Send(context.Background(), c.Address(), "ada"))
	c.Close()
	<-c.Done() // its handlers have returned
	fmt.Println(eb.Send(context.Background(), "greet", "bob"))
	// Output:
	// <nil>
	// bus: no consumer of "greet"
}

// When Known returns, all linked nodes send to the consumer.
func ExampleConsumer_Known() {
	eb := bus.New()
	defer eb.Close()
	c, err := eb.Consume("greet", bus.Receive(func(ctx context.Context, name string) error { return nil }))
	fmt.Println(err)
	fmt.Println(c.Known(context.Background()))
	// Output:
	// <nil>
	// <nil>
}

func ExampleEventBus_Done() {
	eb := bus.New()
	go eb.Close() // somewhere
	<-eb.Done()
	_, err := eb.Consume("late", bus.Receive(func(ctx context.Context, s string) error { return nil }))
	fmt.Println(err)
	// Output: bus: closed: cannot consume "late"
}

func ExampleEventBus_Peers() {
	eb := bus.New()
	defer eb.Close()
	fmt.Println(len(eb.Peers())) // alone; of a cluster, the nodes that are linked
	// Output: 0
}

func ExampleEventBus_Close() {
	eb := bus.New()
	eb.Consume("slow", bus.Receive(func(ctx context.Context, s string) error {
		fmt.Println("handled", s)
		return nil
	}))
	_, err := eb.Request(context.Background(), "slow", "this")
	fmt.Println(err)
	fmt.Println(eb.Close(), eb.Close())
	<-eb.Done()
	fmt.Println(errors.Is(eb.Send(context.Background(), "slow", "that"), bus.ErrClosed))
	// Output:
	// handled this
	// <nil>
	// <nil> <nil>
	// true
}

func ExampleEventBus_Stats() {
	eb := bus.New()
	defer eb.Close()
	for range 3 {
		eb.Consume("news", bus.Receive(func(ctx context.Context, s string) error { return nil }))
	}
	eb.Publish(context.Background(), "news", "hi")
	eb.Request(context.Background(), "news", "how are you")
	for s := eb.Stats(); ; s = eb.Stats() {
		if s.Handled == 4 && s.Sent == s.Settled+s.Bounced+s.Unknown {
			fmt.Println("sent", s.Sent, "settled", s.Settled)
			return
		}
	}
	// Output: sent 4 settled 4
}

func ExampleHeader() {
	h := bus.Header{}
	h.Add("Via", "a")
	h.Add("via", "b")
	h.Set("Trace", "x")
	c := h.Clone()
	h.Del("trace")
	fmt.Println(h.Get("VIA"), h.Values("Via"), len(h), len(c))
	// Output: a [a b] 1 2
}

// Two buses are joined by hand, over a stream in memory; package cluster does
// so for those of different processes.
func ExampleAttachment() {
	a, b := bus.New(), bus.New()
	ada, bob := bus.Peer{Name: "ada", Boot: 1}, bus.Peer{Name: "bob", Boot: 2}
	atA, _ := a.Attach(ada, nil)
	atB, _ := b.Attach(bob, nil)
	b.Consume("greet", bus.Respond(func(ctx context.Context, name string) (string, error) {
		return "hello, " + name, nil
	}))

	connA, connB := bustest.Pipe()
	up, ended := make(chan struct{}), make(chan error)
	go func() { ended <- atA.ServeLink(context.Background(), bob, connA, func() { close(up) }) }()
	go func() { ended <- atB.ServeLink(context.Background(), ada, connB, nil) }()
	<-up // what bob consumes is known

	fmt.Println(bus.Request[string](context.Background(), a, "greet", "ada"))
	b.Close() // says goodbye
	<-ended
	<-ended
	fmt.Println(a.Send(context.Background(), "greet", "ada"), a.Close())
	// Output:
	// hello, ada <nil>
	// bus: no consumer of "greet" <nil>
}

// Each consumer answers for itself; what fails is beside the replies.
func ExampleEventBus_RequestAll() {
	eb := bus.New()
	defer eb.Close()
	for _, load := range []int{3, 5} {
		eb.Consume("load", bus.Respond(func(context.Context, any) (int, error) { return load, nil }))
	}
	eb.Consume("load", bus.Respond(func(context.Context, any) (int, error) { return 0, errors.New("cannot tell") }))
	replies, err := eb.RequestAll(context.Background(), "load", nil)
	sum := 0
	for _, m := range replies {
		var load int
		if err := m.Decode(&load); err == nil {
			sum += load
		}
	}
	fmt.Println(len(replies), "replies, in all", sum)
	fmt.Println(err)
	// Output:
	// 2 replies, in all 8
	// consumer on this node: request to "load": bus: consumer answered: cannot tell (code -1)
}
