package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// What a cluster tells a bus beside connections, and asks of it.
func ExampleAttachment_Expect() {
	eb := bus.New()
	attachment, _ := eb.Attach(bus.Peer{Name: "ada", Boot: 1}, nil)
	forget := attachment.Expect(bus.Peer{Name: "bob", Boot: 2, Addr: "10.0.0.2:7946"}) // gossip says that it lives
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	err := eb.Send(ctx, "greet", "bob") // which might be bob's, once it is linked
	fmt.Println(errors.Is(err, bus.ErrNoConsumer), strings.Contains(err.Error(), "not linked: bob"))
	forget() // gossip says that it does not live any more

	attachment.Probe(2) // nothing, as there is no link to it
	fmt.Println(attachment.Open())
	eb.Close()
	<-attachment.Leaving()
	fmt.Println(attachment.Open())
	// Output:
	// true true
	// true
	// false
}

// Who sent a message, and which way it came.
func ExampleMessage_From() {
	a, b := bus.New(), bus.New()
	defer a.Close()
	defer b.Close()
	ada, bob := bus.Peer{Name: "ada", Boot: 1}, bus.Peer{Name: "bob", Boot: 2}
	atA, _ := a.Attach(ada, nil)
	atB, _ := b.Attach(bob, nil)
	connA, connB := bustest.Pipe()
	linked := make(chan struct{})
	go atA.ServeLink(context.Background(), bob, connA, nil)
	go atB.ServeLink(context.Background(), ada, connB, func() { close(linked) })
	<-linked
	c, _ := b.Consume("whoami", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
		return m.Reply(ctx, m.From()+", who came by "+m.Via().String()+" to "+m.Address())
	}))
	c.Known(context.Background())
	for _, eb := range []*bus.EventBus{a, b} {
		fmt.Println(bus.Request[string](context.Background(), eb, "whoami", nil))
	}
	// Output:
	// ada, who came by link to whoami <nil>
	// bob, who came by local to whoami <nil>
}
