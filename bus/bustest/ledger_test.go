package bustest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// Each promise that is broken is told of.
func TestLedger(t *testing.T) {
	t.Parallel()
	eb := bus.New()
	defer eb.Close()
	l := bustest.NewLedger()
	if _, err := eb.Consume("a", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
		var k bustest.Mark
		if err := m.Decode(&k); err != nil {
			return err
		}
		l.Handle("c", k, m)
		return m.Reply(t.Context(), k)
	})); err != nil {
		t.Fatal(err)
	}
	send := func(k bustest.Mark) {
		t.Helper()
		got, err := bus.Request[bustest.Mark](t.Context(), eb, "a", k)
		if err != nil || got != k {
			t.Errorf("%v, %v", got, err)
		}
	}
	one, two := bustest.Mark{Sender: "s", Seq: 1}, bustest.Mark{Sender: "s", Seq: 2}
	other := bustest.NewLedger()
	for _, step := range []struct {
		what   string
		do     func()
		broken int // so far
	}{
		{"one", func() { send(one); l.Answer(one, one) }, 0},
		{"three, as two is late", func() { send(bustest.Mark{Sender: "s", Seq: 3}) }, 0},
		{"two", func() { send(two) }, 1},
		{"two again, out of order too", func() { send(two) }, 3},
		{"a publish, twice", func() {
			send(bustest.Mark{Sender: "p", Seq: 1, Publish: true})
			send(bustest.Mark{Sender: "p", Seq: 1, Publish: true})
		}, 4},
		{"the reply to another", func() { l.Answer(two, one) }, 5},
		{"a sender that counts from zero", func() {
			send(bustest.Mark{Sender: "z", Seq: 0})
			send(bustest.Mark{Sender: "z", Seq: 1})
		}, 5},
		{"in time", func() { l.End(two, time.Now().Add(-time.Second), time.Minute, nil) }, 5},
		{"late", func() { l.End(two, time.Now().Add(-time.Second), 0, nil) }, 6},
		{"handled elsewhere", func() { other.Take(bustest.Record{Handled: map[bustest.Mark]int{one: 1}}) }, 6},
		{"handled here and elsewhere", func() { l.Take(other.Record()) }, 7},
	} {
		step.do()
		if got := l.Broken(); len(got) != step.broken {
			t.Errorf("%s: broken are %q, want %d", step.what, got, step.broken)
		}
	}
	for range 100 {
		l.Answer(two, one)
	}
	if got := l.Broken(); len(got) != 21 {
		t.Errorf("%d texts, want 20 and how many more", len(got))
	}
}

// ExampleLedger checks a bus that is not part of a cluster.
func ExampleLedger() {
	eb := bus.New()
	defer eb.Close()
	l := bustest.NewLedger()
	got := make(chan bool)
	_, err := eb.Consume("work", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
		var k bustest.Mark
		if err := m.Decode(&k); err != nil {
			return err
		}
		l.Handle("worker 1", k, m)
		got <- true
		return nil
	}))
	if err != nil {
		fmt.Println(err)
	}
	for seq := uint64(1); seq <= 2; seq++ {
		k := bustest.Mark{Sender: "example", Seq: seq}
		if err := eb.Send(context.Background(), "work", k); err == nil {
			l.Accept(k)
		}
		<-got
	}
	l.Accept(bustest.Mark{Sender: "example", Seq: 3}) // which was never sent
	fmt.Println("broken:", l.Broken())
	fmt.Println("lost:", l.Lost())
	// Output:
	// broken: []
	// lost: [{example 3 false}]
}
