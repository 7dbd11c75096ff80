package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/verticle"
	"github.com/runrig-go/runrig/verticle/lease"
)

// counting counts what is read of a store.
type counting struct {
	lease.Store
	reads atomic.Int64
}

func (c *counting) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	c.reads.Add(1)
	return c.Store.Get(ctx, key)
}

// Nodes come and go under load: what is reserved is what is missing in the store, and
// the store is read when a SKU comes to another node, not for each message.
func TestStockIsKept(t *testing.T) {
	t.Parallel()
	const skus, rounds, stock = 20, 60, 50
	quiet := bus.WithLogger(slog.New(slog.DiscardHandler))
	c := bustest.NewCluster(t, 4, quiet)
	store := &counting{Store: new(lease.Memory)}
	for s := range skus {
		if err := fill(t.Context(), store, fmt.Sprint("sku-", s), stock); err != nil {
			t.Fatal(err)
		}
	}
	deployed := map[int]*verticle.Deployment{}
	deploy := func(i int) {
		d, err := verticle.Deploy(t.Context(), c.Bus(i), &Inventory{Store: store}, verticle.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		deployed[i] = d
	}
	undeploy := func(i int) {
		if err := deployed[i].Undeploy(context.Background()); err != nil {
			t.Error(err)
		}
	}
	deploy(1)
	deploy(2)
	var reserved, refused atomic.Int64
	for round := range rounds {
		switch round {
		case 15:
			deploy(3)
		case 30:
			undeploy(1)
		case 45:
			deploy(1)
		}
		var asking sync.WaitGroup
		for s := range skus {
			asking.Go(func() {
				_, err := reserve(t.Context(), c.Bus(0), Reserve{fmt.Sprint("sku-", s), 1})
				var no *bus.ReplyError
				switch {
				case err == nil:
					reserved.Add(1)
				case errors.As(err, &no) && no.Code == CodeSoldOut:
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		asking.Wait()
	}
	for i := range deployed {
		undeploy(i)
	}
	if reserved.Load() != skus*stock || refused.Load() != skus*(rounds-stock) {
		t.Errorf("%d reserved, %d refused", reserved.Load(), refused.Load())
	}
	for s := range skus {
		value, _, err := store.Store.Get(t.Context(), key(fmt.Sprint("sku-", s)))
		var left Stock
		if err != nil || json.Unmarshal(value, &left) != nil || left.Left != 0 {
			t.Errorf("the store has %s, %v", value, err)
		}
	}
	if most := int64(skus * (4 + rounds - stock)); store.reads.Load() > most {
		t.Errorf("the store was read %d times, for %d messages; at most %d are needed", store.reads.Load(), skus*rounds, most)
	}
}

// What is left is answered out of memory, and read again when the SKU may have been at
// another node meanwhile.
func TestLookingIsCached(t *testing.T) {
	t.Parallel()
	quiet := bus.WithLogger(slog.New(slog.DiscardHandler))
	c := bustest.NewCluster(t, 3, quiet)
	store := &counting{Store: new(lease.Memory)}
	if err := fill(t.Context(), store, "apple", 10); err != nil {
		t.Fatal(err)
	}
	deploy := func(i int) *verticle.Deployment {
		d, err := verticle.Deploy(t.Context(), c.Bus(i), &Inventory{Store: store}, verticle.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	reads := func(what string, want int64, count, left int) {
		t.Helper()
		before := store.reads.Load()
		for range 5 {
			if got, err := reserve(t.Context(), c.Bus(0), Reserve{"apple", count}); err != nil || got.Left != left {
				t.Fatalf("%s: %v, %v", what, got, err)
			}
			left -= count
		}
		if n := store.reads.Load() - before; n != want {
			t.Errorf("%s: the store was read %d times", what, n)
		}
	}
	deploy(1)
	reads("first", 1, 0, 10)
	reads("again", 0, 0, 10)
	reads("beside what is reserved", 0, 1, 9)
	other := deploy(2)
	reads("another node has come", 1, 0, 5)
	reads("and is there", 0, 0, 5)
	if err := other.Undeploy(t.Context()); err != nil {
		t.Fatal(err)
	}
	reads("it has gone", 1, 0, 5)
}

func Example() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	fmt.Println(run(context.Background()))
	// Output:
	// 75 left
	// 50 left
	// 25 left
	// 0 left
	// sold out: 0 of apple left, of 1 asked for
	// <nil>
}
