package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// tally registers consumers of an address that count what they get.
type tally []*atomic.Int32

func (ty *tally) add(t *testing.T, eb *bus.EventBus, address string, opts ...bus.ConsumeOption) *bus.Consumer {
	t.Helper()
	n := new(atomic.Int32)
	*ty = append(*ty, n)
	return consume(t, eb, address, func(context.Context, *bus.Message) error { n.Add(1); return nil }, opts...)
}

// take returns the counts so far, when nothing is under way, and begins anew.
func (ty tally) take() (counts []int32) {
	synctest.Wait()
	for _, n := range ty {
		counts = append(counts, n.Swap(0))
	}
	return counts
}

func (ty tally) expect(t *testing.T, what string, want ...int32) {
	t.Helper()
	if got := ty.take(); !slices.Equal(got, want) {
		t.Errorf("%s: %v, not %v", what, got, want)
	}
}

// Nodes get shares in proportion to their consumers, and each consumer the same,
// whoever sends.
func TestExactShares(t *testing.T) {
	for _, counts := range [][]int{{1, 2}, {1, 1, 2}, {2, 4}, {3, 0, 5}} {
		t.Run(fmt.Sprint(counts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := bustest.NewCluster(t, len(counts)+1, quiet)
				var got tally
				var want []int32
				for node, n := range counts {
					for range n {
						got.add(t, c.Bus(node), "a")
						want = append(want, 50)
					}
				}
				for from := range len(counts) + 1 { // the last has no consumer
					for range 50 * len(want) {
						if err := c.Bus(from).Send(t.Context(), "a", nil); err != nil {
							t.Fatal(err)
						}
					}
					got.expect(t, fmt.Sprintf("sends of n%d", from), want...)
					for range 50 * len(want) {
						if _, err := c.Bus(from).Request(t.Context(), "a", nil); err != nil {
							t.Fatal(err)
						}
					}
					got.expect(t, fmt.Sprintf("requests of n%d", from), want...)
				}
			})
		})
	}
}

// Calls that are LocalOnly stay on this node, where the consumers take turns.
func TestLocalOnlyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		var got tally
		got.add(t, c.Bus(0), "a")
		for range 4 {
			got.add(t, c.Bus(1), "a")
		}
		got.add(t, c.Bus(0), "a", bus.LocalOnly())
		for range 30 {
			if err := c.Bus(0).Send(t.Context(), "a", nil, bus.LocalOnly()); err != nil {
				t.Fatal(err)
			}
		}
		got.expect(t, "30 sends", 15, 0, 0, 0, 0, 15)
		for range 30 {
			if err := c.Bus(0).Publish(t.Context(), "a", nil, bus.LocalOnly()); err != nil {
				t.Fatal(err)
			}
		}
		got.expect(t, "30 publishes", 30, 0, 0, 0, 0, 30)
	})
}

// LocalFirst has consumers of this node take turns among themselves, others have
// their turns when those have no room, or when there are none.
func TestLocalFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 3, quiet)
		var got tally
		for i := range 9 { // not in a row
			got.add(t, c.Bus([]int{0, 1, 2, 2, 0, 1, 1, 2, 0}[i]), "a")
		}
		for range 60 {
			if err := c.Bus(0).Send(t.Context(), "a", nil, bus.LocalFirst()); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Bus(0).Request(t.Context(), "a", nil, bus.LocalFirst()); err != nil {
				t.Fatal(err)
			}
		}
		got.expect(t, "from n0", 40, 0, 0, 0, 40, 0, 0, 0, 40)

		block := make(chan struct{})
		consume(t, c.Bus(0), "full", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(1<<10))
		var others tally
		others.add(t, c.Bus(1), "full")
		others.add(t, c.Bus(2), "full")
		for range 12 { // two start in its window
			if err := c.Bus(0).Send(t.Context(), "full", make([]byte, 600), bus.LocalFirst()); err != nil {
				t.Fatal(err)
			}
		}
		others.expect(t, "of 12, two of which were for who is full", 5, 5)
		close(block)
		synctest.Wait()
		for range 4 {
			if _, err := c.Bus(0).Request(t.Context(), "full", nil, bus.LocalFirst()); err != nil {
				t.Fatal(err)
			}
		}
		others.expect(t, "when it has room again", 0, 0)
	})
}

// tagged returns buses that are linked, of nodes with these values of a tag.
func tagged(t *testing.T, zones ...string) (buses []*bus.EventBus) {
	t.Helper()
	var links []*bus.Attachment
	var peers []bus.Peer
	for i, zone := range zones {
		eb := bus.New(quiet)
		t.Cleanup(func() { eb.Close() })
		peer := bus.Peer{Name: fmt.Sprint("n", i), Boot: uint64(i + 1), Tags: map[string]string{"a": fmt.Sprint(i), "zone": zone, "z": "1"}}
		if zone == "" {
			peer.Tags = nil
		}
		l, err := eb.Attach(peer, nil)
		if err != nil {
			t.Fatal(err)
		}
		for j, other := range links {
			ours, theirs := bustest.Pipe()
			go l.ServeLink(context.Background(), peers[j], ours, nil)   // ends with the buses
			go other.ServeLink(context.Background(), peer, theirs, nil) // likewise
		}
		buses, links, peers = append(buses, eb), append(links, l), append(peers, peer)
	}
	synctest.Wait()
	return buses
}

// SameTag has consumers on nodes with this node's value take turns, of which it is
// one; LocalFirst with it has three steps. Without the tag, or without a cluster,
// all are the same.
func TestSameTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		buses := tagged(t, "x", "y", "x", "y", "")
		var got tally
		for _, eb := range buses {
			got.add(t, eb, "a")
		}
		send := func(eb *bus.EventBus, opts ...bus.CallOption) {
			t.Helper()
			for range 20 {
				if err := eb.Send(t.Context(), "a", nil, opts...); err != nil {
					t.Fatal(err)
				}
				if _, err := eb.Request(t.Context(), "a", nil, opts...); err != nil {
					t.Fatal(err)
				}
			}
		}
		send(buses[0], bus.SameTag("zone"))
		got.expect(t, "from zone x", 20, 0, 20, 0, 0)
		send(buses[3], bus.SameTag("zone"))
		got.expect(t, "from zone y", 0, 20, 0, 20, 0)
		send(buses[0], bus.SameTag("a"))
		got.expect(t, "by a tag whose value nobody shares", 40, 0, 0, 0, 0)
		send(buses[0], bus.SameTag("rack"))
		got.expect(t, "by a tag that there is not", 8, 8, 8, 8, 8)
		send(buses[4], bus.SameTag("zone"))
		got.expect(t, "from a node without tags", 8, 8, 8, 8, 8)
		send(buses[0], bus.SameTag("z"))
		got.expect(t, "by a tag that four share", 10, 10, 10, 10, 0)

		alone := bus.New(quiet)
		defer alone.Close()
		consume(t, alone, "a", nothing)
		send(alone, bus.SameTag("zone"))
	})
}

// With SameTag and LocalFirst this node comes first, then its tag's, then others;
// each step has what there is no room for before it.
func TestLocalFirstThenSameTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		buses := tagged(t, "x", "y", "x")
		block := make(chan struct{})
		defer close(block)
		var got tally
		for _, eb := range buses {
			n := new(atomic.Int32)
			got = append(got, n)
			consume(t, eb, "a", func(context.Context, *bus.Message) error { n.Add(1); <-block; return nil }, bus.WithWindow(1<<10), bus.WithConcurrency(99))
		}
		for i := range 6 { // two start in each window
			if err := buses[0].Send(t.Context(), "a", make([]byte, 600), bus.LocalFirst(), bus.SameTag("zone")); err != nil {
				t.Fatal(err)
			}
			want := [][]int32{{1, 0, 0}, {1, 0, 0}, {0, 0, 1}, {0, 0, 1}, {0, 1, 0}, {0, 1, 0}}[i]
			got.expect(t, fmt.Sprint("message ", i), want...)
		}
	})
}

// 256 messages that are sent while the first link is coming up arrive in order.
func TestOrderWhileLinking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bus.New(quiet), bus.New(quiet)
		defer a.Close()
		defer b.Close()
		pa, pb := bus.Peer{Name: "a", Boot: 1}, bus.Peer{Name: "b", Boot: 2}
		la, _ := a.Attach(pa, nil)
		lb, _ := b.Attach(pb, nil)
		defer la.Expect(pb)()
		var order []int
		if _, err := b.Consume("a", bus.Receive(func(_ context.Context, n int) error { order = append(order, n); return nil })); err != nil {
			t.Fatal(err)
		}
		go func() {
			for i := range 256 {
				if err := a.Send(context.Background(), "a", i); err != nil {
					t.Error(err)
				}
			}
		}()
		time.Sleep(500 * time.Millisecond)
		ca, cb := bustest.Pipe()
		go la.ServeLink(context.Background(), pb, ca, nil) // ends with the buses
		go lb.ServeLink(context.Background(), pa, cb, nil) // likewise
		synctest.Wait()
		if len(order) != 256 || !slices.IsSorted(order) {
			t.Errorf("%d came: %v", len(order), order)
		}
	})
}

// Of three nodes one leaves or dies: all that the third sends goes to the one that
// is left, in order.
func TestOneOfTwoGoes(t *testing.T) {
	for name, end := range map[string]func(*bustest.Cluster){
		"leaves": func(c *bustest.Cluster) { c.Bus(1).Close() },
		"dies":   func(c *bustest.Cluster) { c.Break(2, 1); c.Break(0, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := bustest.NewCluster(t, 3, quiet)
				var mu sync.Mutex
				var order []int
				consume(t, c.Bus(0), "a", bus.Receive(func(_ context.Context, n int) error {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, n)
					return nil
				}).Handle)
				consume(t, c.Bus(1), "a", nothing)
				end(c)
				for i := range 10 {
					if err := c.Bus(2).Send(t.Context(), "a", i); err != nil {
						t.Error(err)
					}
				}
				synctest.Wait()
				if fmt.Sprint(order) != "[0 1 2 3 4 5 6 7 8 9]" {
					t.Errorf("came: %v", order)
				}
			})
		})
	}
}

// A message that must stay here and may not go to a consumer whose turn its sender
// holds does not keep from that consumer what waits behind it.
func TestLocalOnlyBehindOneThatHoldsTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eb := bus.New(quiet)
		defer eb.Close()
		full := consume(t, eb, "a", nothing, bus.WithWindow(1<<10))
		full.Pause()
		for range 20 {
			eb.Publish(t.Context(), "a", nil, bus.NoWait())
		}
		scope := eb.Scope()
		consume(t, scope, "a", nothing)
		waits := make(chan error, 1)
		go func() {
			waits <- scope.Do(t.Context(), func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				_, err := eb.Request(ctx, "a", nil, bus.LocalOnly())
				return err
			})
		}()
		synctest.Wait()
		begin := time.Now()
		if err := eb.Send(t.Context(), "a", nil, bus.LocalOnly()); err != nil || time.Since(begin) > 0 {
			t.Errorf("the send took %v: %v", time.Since(begin), err)
		}
		if err := <-waits; !errors.Is(err, bus.ErrBusy) {
			t.Errorf("the request: %v; want ErrBusy", err)
		}
		full.Resume()
	})
}
