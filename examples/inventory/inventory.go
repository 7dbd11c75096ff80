package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
	"github.com/runrig-go/runrig/verticle/lease"
)

// Reserving is where stock is reserved. It is asked by key, the SKU, so that one
// node has all that concerns a SKU.
const Reserving bus.Endpoint[Reserve, Stock] = "inventory.reserve"

// Reserve asks for pieces of a SKU; for none, only what is left of it, which is answered out
// of memory.
type Reserve struct {
	SKU   string
	Count int
}

// Stock is what is there of a SKU.
type Stock struct {
	SKU  string
	Left int
}

// CodeSoldOut refuses a Reserve.
const CodeSoldOut = 1

// reserve is how others ask: by key, and willing to wait where the owner has just gone.
func reserve(ctx context.Context, eb *bus.EventBus, r Reserve) (Stock, error) {
	return Reserving.Request(ctx, eb, r, bus.ByKey(r.SKU), bus.Await())
}

// Inventory is a verticle that has the stock of the SKUs it owns in memory, and that of
// all in a store. It is deployed on several nodes. What it remembers has a version, and the
// store takes a change of the newest version only: whoever is behind reads anew. What it
// answers without asking the store is of the epoch of the message: in another one the SKU may
// have been at another node, which has changed it.
type Inventory struct {
	Store lease.Store

	known map[string]entry // no lock: handlers take turns
}

// entry is what is remembered of a SKU.
type entry struct {
	stock   Stock
	version uint64
	epoch   uint64 // in which it was the store's
}

// Start consumes.
func (v *Inventory) Start(_ context.Context, d *verticle.Deployment) error {
	v.known = map[string]entry{}
	_, err := d.Consume(Reserving.Address(), Reserving.Respond(v.reserve))
	return err
}

// Stop does nothing: the store has all.
func (v *Inventory) Stop(context.Context) error { return nil }

func (v *Inventory) reserve(ctx context.Context, r Reserve) (Stock, error) {
	epoch := bus.MessageOf(ctx).Epoch()
	if e, ok := v.known[r.SKU]; ok && e.stock.Left >= r.Count && (r.Count > 0 || e.epoch == epoch) {
		left, err := v.take(ctx, e, r.Count)
		if !errors.Is(err, lease.ErrConflict) {
			return left, err // also where it is not known whether the store has taken it
		}
	} // else what is remembered may be out of date
	for {
		e, err := v.read(ctx, r.SKU)
		if err != nil {
			return Stock{}, err
		}
		e.epoch = epoch
		left, err := v.take(ctx, e, r.Count)
		if !errors.Is(err, lease.ErrConflict) {
			return left, err
		}
	}
}

// take takes so many pieces out of what e says is there, and remembers what is left. If
// it fails nothing is remembered.
func (v *Inventory) take(ctx context.Context, e entry, count int) (Stock, error) {
	if count == 0 {
		v.known[e.stock.SKU] = e
		return e.stock, nil
	}
	delete(v.known, e.stock.SKU)
	if e.stock.Left < count {
		return Stock{}, &bus.ReplyError{Code: CodeSoldOut, Message: fmt.Sprintf("%d of %s left, of %d asked for", e.stock.Left, e.stock.SKU, count)}
	}
	e.stock.Left -= count
	value, err := json.Marshal(e.stock)
	if err != nil {
		return Stock{}, err
	}
	if e.version, err = v.Store.Put(ctx, key(e.stock.SKU), value, e.version); err != nil {
		return Stock{}, err
	}
	v.known[e.stock.SKU] = e
	return e.stock, nil
}

func (v *Inventory) read(ctx context.Context, sku string) (e entry, err error) {
	value, version, err := v.Store.Get(ctx, key(sku))
	if err != nil {
		return e, err
	}
	e = entry{stock: Stock{SKU: sku}, version: version}
	if version == 0 { // there is none
		return e, nil
	}
	return e, json.Unmarshal(value, &e.stock)
}

func key(sku string) string { return "stock/" + sku }
