package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// exampleTB stands for the *testing.T of a test.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (t *exampleTB) Helper()           {}
func (t *exampleTB) Output() io.Writer { return io.Discard }
func (t *exampleTB) Cleanup(f func())  { t.cleanups = append(t.cleanups, f) }

func (t *exampleTB) end() {
	for _, f := range t.cleanups {
		f()
	}
}

func ExampleNewCluster() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := bustest.NewCluster(t, 3)
	got := make(chan string)
	for i := range 3 {
		cn, _ := c.Bus(i).Consume("news", bus.HandlerFunc(func(ctx context.Context, m *bus.Message) error {
			got <- fmt.Sprintf("%s from %s", m.Body, m.From())
			return nil
		}))
		cn.Known(context.Background())
	}
	c.Bus(1).Publish(context.Background(), "news", []byte("rain"))
	fmt.Println(<-got, "/", <-got, "/", <-got)
	for _, p := range c.Bus(1).Peers() {
		fmt.Println("linked with", p.Name)
	}
	// Output:
	// rain from n1 / rain from n1 / rain from n1
	// linked with n0
	// linked with n2
}

func ExampleCluster_Add() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := bustest.NewCluster(t, 2)
	newcomer := c.Bus(c.Add())
	fmt.Println(len(newcomer.Peers()))
	newcomer.Close()
	// Output: 2
}

// A request that may be handled twice survives the loss of the link over which
// it went.
func ExampleCluster_Break() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := bustest.NewCluster(t, 3)
	began, finish := make(chan int), make(chan struct{})
	for i := 1; i < 3; i++ {
		cn, _ := c.Bus(i).Consume("work", bus.Receive(func(ctx context.Context, s string) error {
			began <- i
			<-finish
			return nil
		}))
		cn.Known(context.Background())
	}
	answer := make(chan error)
	for _, opts := range [][]bus.CallOption{{bus.Idempotent()}, nil} {
		go func() {
			_, err := c.Bus(0).Request(context.Background(), "work", "x", opts...)
			answer <- err
		}()
		first := <-began
		c.Break(0, first)
		if opts != nil {
			fmt.Println("another began:", <-began != first)
			finish <- struct{}{} // both
			finish <- struct{}{}
		}
		err := <-answer
		if opts == nil {
			finish <- struct{}{}
		}
		fmt.Println(err == nil, errors.Is(err, bus.ErrLinkLost))
	}
	// Output:
	// another began: true
	// true false
	// false true
}

// A link that broke is set up again.
func ExampleCluster_Link() {
	t := new(exampleTB) // in a test, its t
	defer t.end()
	c := bustest.NewCluster(t, 2)
	c.Break(0, 1)
	fmt.Println(len(c.Bus(0).Peers()))
	c.Link(0, 1)
	fmt.Println(len(c.Bus(0).Peers()))
	// Output:
	// 0
	// 1
}
