package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
)

// Browsers may talk in rooms, and programs in other languages may order, once they have
// said who they are.
func Example() {
	eb := bus.New()
	defer eb.Close()
	b, err := bridge.New(eb, bridge.Config{
		Rules: []bridge.Rule{
			{Direction: bridge.In | bridge.Out, Prefix: "room."},
			{Direction: bridge.In, Address: "login"},
			{Direction: bridge.In, Address: "orders", Authority: "customer"},
		},
		Authorize: func(_ context.Context, c *bridge.Client, e *bridge.Event) error {
			if e.Address != "login" {
				return nil
			}
			if string(e.Body) != `"open sesame"` {
				return errors.New("wrong password")
			}
			c.Grant("customer")
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- b.ServeTCP(l) }()
	mux := http.NewServeMux()
	mux.Handle("/eventbus/", http.StripPrefix("/eventbus", b))
	// http.Serve(another listener, mux)

	_ = b.Close() // before the bus; it returns no error
	fmt.Println(<-served)
	// Output: bridge: closed
}
