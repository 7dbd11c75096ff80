package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/runrig-go/runrig/discovery/internal/guard"
)

// First returns a Provider that asks others in turn and gives the answer of the
// first one that has any. An empty answer is one, but not after an earlier
// provider failed: there may be others that only it knows of, so that the whole
// is an error; it is one of configuration ([IsMisconfigured]) if all that
// failed are. A provider that panics has failed. When ctx has a deadline, each may
// use its share of the time that is left, so that a slow one leaves some to those
// behind it.
//
// If one of the providers is an [Identifier], so is the result, which asks the
// first of those.
func First(providers ...Provider) Provider {
	if err := checkAll("First", providers); err != nil {
		return failing(err)
	}
	providers = slices.Clone(providers)
	return identified(func(ctx context.Context) ([]string, error) { return askInTurn(ctx, providers) }, providers)
}

func askInTurn(ctx context.Context, providers []Provider) ([]string, error) {
	var errs []error
	for i, p := range providers {
		list, err := askForShare(ctx, p, len(providers)-i)
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(list) > 0 || len(errs) == 0:
			return list, nil
		}
	}
	return nil, together("discovery: no provider knew of anybody, and not all could be asked: %w", errs)
}

// askForShare asks p for the part of the remaining time that is due to one of
// left providers.
func askForShare(ctx context.Context, p Provider, left int) ([]string, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return askOne(ctx, p)
}

// askOne asks p, whose panic is an error.
func askOne(ctx context.Context, p Provider) (list []string, err error) {
	err = guard.Call(fmt.Sprintf("Peers of %T", p), func() (err error) {
		list, err = p.Peers(ctx)
		return err
	})
	return list, err
}

// Merge returns a Provider that asks all others at once and gives what they
// found together: the first of each, then the second of each, and so on. When
// one of them fails, or panics, it is an error, since a part of the answer is
// none; where that is too strict, give it the providers as [LastGood], which
// helps from their first answer on. A provider that knows of nobody does not
// fail. The error is one of configuration ([IsMisconfigured]) if all that failed
// are.
//
// If one of the providers is an [Identifier], so is the result, which asks the
// first of those.
func Merge(providers ...Provider) Provider {
	if err := checkAll("Merge", providers); err != nil {
		return failing(err)
	}
	providers = slices.Clone(providers)
	return identified(func(ctx context.Context) ([]string, error) { return askAll(ctx, providers) }, providers)
}

func askAll(ctx context.Context, providers []Provider) ([]string, error) {
	type answer struct {
		list []string
		err  error
	}
	done := make([]chan answer, len(providers))
	for i, p := range providers {
		done[i] = make(chan answer, 1)
		go func() { // ends with Peers, which ctx ends; received below
			list, err := askOne(ctx, p)
			done[i] <- answer{list, err}
		}()
	}
	var lists [][]string
	var errs []error
	for _, c := range done {
		a := <-c
		lists, errs = append(lists, a.list), append(errs, a.err)
	}
	if err := together(fmt.Sprintf("discovery: not all of %d providers could be asked: %%w", len(providers)), errs); err != nil {
		return nil, err
	}
	return interleave(lists), nil
}

// interleave keeps the order of each list and drops repeats.
func interleave(lists [][]string) []string {
	var all []string
	seen := map[string]bool{}
	for i, more := 0, true; more; i++ {
		more = false
		for _, list := range lists {
			if i >= len(list) {
				continue
			}
			more = true
			if addr := list[i]; !seen[addr] {
				seen[addr] = true
				all = append(all, addr)
			}
		}
	}
	return all
}

func checkAll(what string, providers []Provider) error {
	if len(providers) == 0 {
		return fmt.Errorf("discovery: %s has no providers; give at least one", what)
	}
	if i := slices.IndexFunc(providers, isNil); i >= 0 {
		return fmt.Errorf("discovery: %s: provider %d of %d is nil (%T)", what, i+1, len(providers), providers[i])
	}
	return nil
}

// isNil reports whether p is nil, also as a pointer. A nil ProviderFunc says so when
// it is asked.
func isNil(p Provider) bool {
	_, isFunc := p.(ProviderFunc)
	return !isFunc && guard.IsNil(p)
}

// combined is a Provider made of others. What some of them can do besides, it can.
type combined struct {
	ProviderFunc
	providers []Provider
}

// identified makes a Provider of peers, and an Identifier too if one of
// providers is.
func identified(peers ProviderFunc, providers []Provider) Provider {
	c := combined{peers, providers}
	for _, p := range providers {
		if id, ok := p.(Identifier); ok {
			return struct {
				combined
				Identifier
			}{c, id}
		}
	}
	return c
}

// Register registers with each that is a [Registrar].
func (c combined) Register(ctx context.Context, r Registration) error {
	return each(c.providers, "Register", func(p Registrar) error { return p.Register(ctx, r) })
}

// Deregister deregisters likewise.
func (c combined) Deregister(ctx context.Context, r Registration) error {
	return each(c.providers, "Deregister", func(p Registrar) error { return p.Deregister(ctx, r) })
}

// Watch watches with each that is a [Watcher], until all have returned; without one
// until ctx ends.
func (c combined) Watch(ctx context.Context, changed func()) error {
	if !slices.ContainsFunc(c.providers, func(p Provider) bool { _, ok := p.(Watcher); return ok }) {
		<-ctx.Done()
		return ctx.Err()
	}
	return each(c.providers, "Watch", func(p Watcher) error { return p.Watch(ctx, changed) })
}

// Close closes each that is an io.Closer.
func (c combined) Close() error {
	return each(c.providers, "Close", func(p io.Closer) error { return p.Close() })
}

// each calls f for all providers that are a T, at once, and waits for all.
func each[T any](providers []Provider, name string, f func(T) error) error {
	errs := make([]error, len(providers))
	var wg sync.WaitGroup
	for i, p := range providers {
		if t, ok := p.(T); ok {
			wg.Go(func() { errs[i] = guard.Call(fmt.Sprintf("%s of %T", name, p), func() error { return f(t) }) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
