package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// owners returns which consumer of "k" gets each of n keys, whoever of the buses
// sends, and fails if it is not always the same.
func owners(t *testing.T, n int, got *atomic.Int32, buses ...*bus.EventBus) []int32 {
	t.Helper()
	owners := make([]int32, n)
	for key := range n {
		for i, eb := range buses {
			if _, err := eb.Request(t.Context(), "k", nil, bus.ByKey(fmt.Sprint(key))); err != nil {
				t.Fatal(err)
			}
			if by := got.Load(); i == 0 {
				owners[key] = by
			} else if owners[key] != by {
				t.Fatalf("key %d goes to consumer %d from one node and to %d from another", key, owners[key], by)
			}
		}
	}
	return owners
}

// A key's messages go to one consumer, the same for all nodes; when a consumer
// comes or goes no other's keys move.
func TestByKeyOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 600
		c := bustest.NewCluster(t, 3, quiet)
		var got atomic.Int32
		open := func(node int, id int32) *bus.Consumer {
			return consume(t, c.Bus(node), "k", func(context.Context, *bus.Message) error { got.Store(id); return nil })
		}
		consumers := map[int32]*bus.Consumer{}
		for id := range int32(6) { // 1, 2 and 3
			consumers[id] = open([]int{0, 1, 1, 2, 2, 2}[id], id)
		}
		if _, err := c.Bus(1).Consume("k", bus.HandlerFunc(func(context.Context, *bus.Message) error { got.Store(-1); return nil }), bus.LocalOnly()); err != nil {
			t.Fatal(err)
		}
		buses := []*bus.EventBus{c.Bus(0), c.Bus(1), c.Bus(2)}
		before := owners(t, keys, &got, buses...)
		shares := map[int32]int{}
		for _, id := range before {
			shares[id]++
		}
		for id := range int32(6) {
			if n := shares[id]; n < keys/6*7/10 || n > keys/6*13/10 {
				t.Errorf("of %d keys consumer %d of 6 has %d", keys, id, n)
			}
		}
		consumers[6] = open(0, 6)
		with := owners(t, keys, &got, buses...)
		consumers[3].Close()
		synctest.Wait()
		without := owners(t, keys, &got, buses...)
		for key := range keys {
			if with[key] != before[key] && with[key] != 6 {
				t.Errorf("consumer 6 has come; key %d has moved from %d to %d", key, before[key], with[key])
			}
			if without[key] == 3 || with[key] != 3 && without[key] != with[key] {
				t.Errorf("consumer 3 has closed; key %d has moved from %d to %d", key, with[key], without[key])
			}
		}
	})
}

// Consumers that other nodes do not know have no keys.
func TestByKeyLocalOnly(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		if _, err := p.from.Consume("k", bus.HandlerFunc(nothing), bus.LocalOnly()); err != nil {
			t.Fatal(err)
		}
		if err := p.from.Send(t.Context(), "k", nil, bus.ByKey("x")); !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("by key to a consumer that is LocalOnly: %v", err)
		}
		consume(t, p.to, "k", nothing)
		if _, err := p.from.Request(t.Context(), "k", nil, bus.ByKey("x")); err != nil {
			t.Error(err)
		}
		if err := p.from.Send(t.Context(), "nobody", nil, bus.ByKey("x")); !errors.Is(err, bus.ErrNoConsumer) {
			t.Errorf("by key to nobody: %v", err)
		}
	})
}

// keysOf returns keys of two consumers of "k": which of them answers, each says.
func keysOf(t *testing.T, eb *bus.EventBus, who func() int) (keys [2][]string) {
	t.Helper()
	for i := 0; len(keys[0]) < 5 || len(keys[1]) < 5; i++ {
		if _, err := eb.Request(t.Context(), "k", nil, bus.ByKey(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		keys[who()] = append(keys[who()], fmt.Sprint(i))
	}
	return keys
}

// Who waits for the owner of one key holds up nobody who sends with another, or
// with none, and is served in turn, whatever his key.
func TestByKeyHeadOfLine(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		block := make(chan struct{})
		var who, others atomic.Int32
		var mu sync.Mutex
		var order []byte
		for i := range int32(2) {
			consume(t, p.to, "k", func(_ context.Context, m *bus.Message) error {
				who.Store(i)
				if i == 0 && len(m.Body) > 0 {
					<-block
					mu.Lock()
					order = append(order, m.Body[len(m.Body)-1])
					mu.Unlock()
				} else if i == 1 {
					others.Add(1)
				}
				return nil
			}, bus.WithWindow(1<<10))
		}
		keys := keysOf(t, p.from, func() int { return int(who.Load()) })
		others.Store(0)
		for i := range byte(2) { // they fill the window
			if err := p.from.Send(t.Context(), "k", append(make([]byte, 600), i), bus.ByKey(keys[0][0])); err != nil {
				t.Fatal(err)
			}
		}
		var waiting atomic.Int32
		for i := range byte(100) {
			go func() {
				waiting.Add(1)
				defer waiting.Add(-1)
				if err := p.from.Send(t.Context(), "k", append(make([]byte, 600), i+2), bus.ByKey(keys[0][i%5])); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		begin := time.Now()
		for i := range 50 {
			for _, opt := range [][]bus.CallOption{{bus.ByKey(keys[1][i%5])}, nil} {
				if _, err := p.from.Request(t.Context(), "k", nil, opt...); err != nil {
					t.Fatal(err)
				}
			}
		}
		if took := time.Since(begin); took > 0 || others.Load() != 100 || waiting.Load() != 100 {
			t.Errorf("%d went beside %d that wait, in %v", others.Load(), waiting.Load(), took)
		}
		close(block)
		time.Sleep(time.Second) // for credit that is batched
		synctest.Wait()
		for i, n := range order {
			if int(n) != i {
				t.Fatalf("not in the order of their coming: %v", order)
			}
		}
		if len(order) != 102 {
			t.Errorf("%d of 102 came", len(order))
		}
	})
}

// Messages by key are placed in the order of their coming among those without.
func TestByKeyStarvesNobody(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		step := make(chan struct{})
		var order []string
		consume(t, p.to, "k", func(_ context.Context, m *bus.Message) error {
			<-step
			order = append(order, m.Header().Get("n"))
			return nil
		}, bus.WithWindow(1<<10))
		for i := range 12 {
			opts := []bus.CallOption{bus.WithHeader("n", fmt.Sprint(i))}
			if i%3 > 0 {
				opts = append(opts, bus.ByKey(fmt.Sprint(i)))
			}
			go func() {
				if err := p.from.Send(context.Background(), "k", make([]byte, 2000), opts...); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		for range 12 {
			step <- struct{}{}
			time.Sleep(time.Second) // for credit that is batched
			synctest.Wait()
		}
		if fmt.Sprint(order) != "[0 1 2 3 4 5 6 7 8 9 10 11]" {
			t.Errorf("handled: %v", order)
		}
	})
}

// When its owner closes, what waited there and what is sent now reach the key's
// next owner in order.
func TestByKeyClose(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		block := make(chan struct{})
		defer close(block)
		var mu sync.Mutex
		var order []byte
		closing := consume(t, p.to, "k", func(context.Context, *bus.Message) error { <-block; return nil })
		key := bus.ByKey("x")
		for i := range byte(50) {
			if err := p.from.Send(t.Context(), "k", []byte{i}, key); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for range 2 {
			consume(t, p.to, "k", func(_ context.Context, m *bus.Message) error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, m.Body[0])
				return nil
			})
		}
		closing.Close()
		for i := range byte(50) {
			if err := p.from.Send(t.Context(), "k", []byte{50 + i}, key); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(order) != 99 || !slices.IsSorted(order) { // one is being handled
			t.Errorf("%d came: %v", len(order), order)
		}
	})
}

// heard returns the frames that have come to the peer; there must be some.
func (p *playedPeer) heard() (fs []*wire.Frame) {
	p.t.Helper()
	b := make([]byte, 4<<20)
	n, err := p.Read(b)
	if err != nil {
		p.t.Fatal(err, <-p.ended)
	}
	for b = b[:n]; len(b) > 0; {
		_, _, size := protowire.ConsumeField(b)
		f := new(wire.Frame)
		if size < 0 || proto.Unmarshal(b[:size], f) != nil {
			p.t.Fatalf("the peer reads %x", b)
		}
		if b = b[size:]; f.GetTime() == nil { // that goes with what is sent
			fs = append(fs, f)
		}
	}
	return fs
}

// bounceOf sends a message back as the consumer's node would.
func bounceOf(m *wire.Msg) *wire.Frame {
	m = proto.Clone(m).(*wire.Msg)
	m.Hops++
	return bounceFrame(m)
}

func doneFrame(route uint32) *wire.Frame {
	return &wire.Frame{Kind: &wire.Frame_RoutesDone{RoutesDone: &wire.RoutesDone{Route: route}}}
}

// keyOfPeer returns a key of the peer's consumer and one of the bus's own.
func (p *playedPeer) keyOfPeer() (theirs, own bus.CallOption) {
	p.t.Helper()
	for i := 0; theirs == nil || own == nil; i++ {
		key, before := bus.ByKey(fmt.Sprint(i)), p.eb.Stats().Handled
		if err := p.eb.Send(p.t.Context(), "out", []byte("find"), key); err != nil {
			p.t.Fatal(err)
		}
		synctest.Wait()
		if p.eb.Stats().Handled == before {
			theirs = key
		} else {
			own = key
		}
	}
	p.heard()
	return theirs, own
}

// A key whose owner has closed is held, for what is new and for what came back,
// until the old owner's last message is in, its node's last, or the link is down.
// Other keys and messages without one are not.
func TestByKeyHold(t *testing.T) {
	for name, end := range map[string]struct {
		removal, done *wire.Frame
	}{
		"closed consumer": {routesFrame(2, false, []uint32{7}), doneFrame(7)},
		"leaving node":    {leavingFrame, doneFrame(0)},
		"broken link":     {routesFrame(2, false, []uint32{7}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := playPeer(t)
				p.say(routesFrame(1, true, nil, out(7, 1<<18)))
				var order []byte
				if _, err := p.eb.Consume("out", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
					if len(m.Body) == 1 {
						order = append(order, m.Body[0])
					}
					return nil
				})); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				key, own := p.keyOfPeer()
				send := func(body byte) {
					if err := p.eb.Send(t.Context(), "out", []byte{body}, key); err != nil {
						t.Error(err)
					}
				}
				send(1)
				send(2)
				synctest.Wait()
				sent := p.heard()
				p.say(end.removal)
				go send(3)
				synctest.Wait()
				p.say(bounceOf(sent[0].GetMsg()))
				go send(4)
				synctest.Wait()
				p.say(doneFrame(6)) // of another
				for _, opts := range [][]bus.CallOption{{own}, nil} {
					if _, err := p.eb.Request(t.Context(), "out", []byte("not held"), opts...); err != nil {
						t.Error(err)
					}
				}
				if len(order) > 0 {
					t.Errorf("handled before the last message came back: %v", order)
				}
				p.say(bounceOf(sent[1].GetMsg()))
				if len(order) > 0 {
					t.Errorf("handled before the end of the route: %v", order)
				}
				if end.done != nil {
					p.say(end.done)
				} else {
					p.Reset()
					synctest.Wait()
				}
				if !bytes.Equal(order, []byte{1, 2, 3, 4}) {
					t.Errorf("handled in the end: %v", order)
				}
			})
		})
	}
}

// What an owner sends back was sent before what still waits for that owner, since
// the one before closed.
func TestByKeyTwoOwnersClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		p.say(routesFrame(1, true, nil, out(1, 1<<18)))
		p.heard()
		key := bus.ByKey("x")
		for i := range byte(5) {
			if err := p.eb.Send(t.Context(), "out", append(make([]byte, 300), i), key); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		first := p.heard()
		p.say(routesFrame(2, false, []uint32{1}, out(2, 1<<10)))
		for _, f := range first {
			p.say(bounceOf(f.GetMsg()))
		}
		p.say(doneFrame(1))
		var second []*wire.Msg
		for _, f := range p.heard() {
			if f.GetMsg() != nil {
				second = append(second, f.GetMsg())
			}
		}
		if len(second) != 3 {
			t.Fatalf("the second owner got %d of 5, of which 3 start in its window", len(second))
		}
		p.say(routesFrame(3, false, []uint32{2}))
		for _, m := range second {
			p.say(bounceOf(m))
		}
		p.say(doneFrame(2))
		var order []byte
		if _, err := p.eb.Consume("out", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
			order = append(order, m.Body[300])
			return nil
		})); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !bytes.Equal(order, []byte{0, 1, 2, 3, 4}) {
			t.Errorf("the third owner got %v", order)
		}
	})
}

// A large message that was taken back half way goes behind what its consumer sends
// back, and ahead of what waited behind it.
func TestByKeyLargeTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 70 << 10
		p := playPeer(t)
		p.say(routesFrame(1, true, nil, out(1, 1<<20)))
		p.heard()
		send := func(body []byte) {
			if err := p.eb.Send(t.Context(), "out", body, bus.ByKey("x")); err != nil {
				t.Error(err)
			}
		}
		goFrame := &wire.Frame{Kind: &wire.Frame_BulkGo{BulkGo: &wire.Chunk{Id: 1}}}
		send([]byte{1})
		go send(append(make([]byte, size-1), 2))
		synctest.Wait()
		p.say(goFrame)
		send([]byte{3})
		synctest.Wait()
		var sent []*wire.Msg
		var large *wire.Bulk
		for _, f := range p.heard() {
			if f.GetMsg() != nil {
				sent = append(sent, f.GetMsg())
			}
			if f.GetBulk() != nil {
				large = f.GetBulk()
			}
		}
		// They come back from the first owner, and the second gets 1 and half of 2.
		p.say(routesFrame(2, false, []uint32{1}, out(2, 1<<20)))
		p.say(bounceOf(sent[0]))
		var m wire.Msg
		if err := proto.Unmarshal(large.Fields, &m); err != nil {
			t.Fatal(err)
		}
		m.Hops = 1
		back := bulkFrame(t, 1, size, &m)
		back.GetBulk().Frame = 8
		p.say(back)
		p.say(chunkFrame(1, make([]byte, size-1)), chunkFrame(1, []byte{2}))
		p.say(bounceOf(sent[1]), doneFrame(1))
		var second []*wire.Frame
		for _, f := range p.heard() {
			if f.GetMsg() != nil || f.GetBulk() != nil {
				second = append(second, f)
			}
		}
		if len(second) != 2 || second[1].GetBulk() == nil {
			t.Fatalf("the second owner got %v", second)
		}
		p.say(routesFrame(3, false, []uint32{2}))
		p.say(bounceOf(second[0].GetMsg()), doneFrame(2))
		var order []byte
		if _, err := p.eb.Consume("out", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
			order = append(order, m.Body[len(m.Body)-1])
			return nil
		})); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !bytes.Equal(order, []byte{1, 2, 3}) {
			t.Errorf("the third owner got %v", order)
		}
	})
}
