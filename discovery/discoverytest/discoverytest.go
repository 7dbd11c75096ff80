// Package discoverytest checks that a [discovery.Provider] keeps its contract.
//
// Call [Run] in a test of the provider, with the addresses it should find. It
// checks what the contract says about answers (complete, each address once,
// well formed, owned by the caller) and about calls (concurrent, and ended by
// their context). It does not check the order of the answer, which may be
// random within limits. A provider that implements [discovery.Identifier] has
// that checked as well. How a provider fails only its own tests can provoke:
// [RunDown] checks what it does then.
package discoverytest

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery"
)

const (
	patience = 20 * time.Second // for an answer
	soon     = 2 * time.Second  // for a call whose context has ended
)

// Run checks the provider that newProvider makes, in subtests of t. newProvider
// is called once for each subtest and must return a provider that is ready and
// whose Peers gives want, in any order, until that subtest ends. want may be
// empty.
func Run(t *testing.T, newProvider func(t *testing.T) discovery.Provider, want []string) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, discovery.Provider, []string){
		"finds all, each once":           findsAll,
		"addresses are well formed":      wellFormed,
		"the answer is the caller's":     answerIsCallers,
		"may be called concurrently":     concurrent,
		"ends with its context":          endsWithContext,
		"knows the own node if it can":   knowsSelf,
		"the own tags are the caller's":  tagsAreCallers,
		"Self ends with its context too": selfEndsWithContext,
	} {
		t.Run(name, func(t *testing.T) { check(t, newProvider(t), want) })
	}
}

// ask calls Peers and fails the test unless all of want comes back.
func ask(t *testing.T, p discovery.Provider, want []string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := p.Peers(ctx)
	if err != nil {
		t.Fatalf("Peers: %v", err)
	}
	if !sameSet(got, want) {
		t.Fatalf("Peers gave %q, want these in any order: %q", got, want)
	}
	return got
}

// sameSet compares without regard to order; a repeated address makes a
// difference.
func sameSet(got, want []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}

func findsAll(t *testing.T, p discovery.Provider, want []string) {
	ask(t, p, want)
	ask(t, p, want) // a second answer may come from a cache
}

func wellFormed(t *testing.T, p discovery.Provider, want []string) {
	for _, addr := range ask(t, p, want) {
		if _, err := discovery.Static(addr).Peers(t.Context()); err != nil {
			t.Errorf("Peers gave a bad address: %v", err)
		}
	}
}

func answerIsCallers(t *testing.T, p discovery.Provider, want []string) {
	got := ask(t, p, want)
	for i := range got {
		got[i] = "changed by the caller"
	}
	_ = append(got, "and grown")
	ask(t, p, want)
}

func concurrent(t *testing.T, p discovery.Provider, want []string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var calls sync.WaitGroup
	defer calls.Wait()
	var peers, self sync.Once // one of them says what the others would
	for range 8 {
		calls.Go(func() {
			got, err := p.Peers(ctx)
			if err != nil || !sameSet(got, want) {
				peers.Do(func() { t.Errorf("one of 8 concurrent calls gave %q, %v; want %q", got, err, want) })
			}
			if id, ok := p.(discovery.Identifier); ok {
				if _, err := id.Self(ctx); err != nil {
					self.Do(func() { t.Errorf("one of 8 concurrent calls of Self: %v", err) })
				}
			}
		})
	}
}

// RunDown checks a provider whose source cannot be asked, a server that is down
// say, in subtests of t. newProvider is called once for each of them. A failure
// must be an error, never an empty list, and a call ends with its context.
func RunDown(t *testing.T, newProvider func(t *testing.T) discovery.Provider) {
	t.Helper()
	t.Run("failure is not an empty list", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		p := newProvider(t)
		for range 2 { // the second answer may come from what is kept of the first
			if got, err := p.Peers(ctx); err == nil || len(got) > 0 {
				t.Fatalf("Peers gave %q, %v; want an error alone: a node takes an empty list for \"nobody is there\"", got, err)
			}
		}
	})
	t.Run("ends with its context", func(t *testing.T) {
		p := newProvider(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // ends with Peers, which the test waits for
			defer close(done)
			if got, err := p.Peers(ctx); err == nil || len(got) > 0 {
				t.Errorf("Peers gave %q, %v; want an error alone", got, err)
			}
		}()
		cancel()
		waitFor(t, done, "Peers")
	})
}

// endsWithContext asks with a context that has ended: the provider may still
// give the whole answer, or an error that passes by itself, but neither a part
// of it nor a wait.
func endsWithContext(t *testing.T, p discovery.Provider, want []string) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() { // ends with Peers, which the test waits for
		defer close(done)
		switch got, err := p.Peers(ctx); {
		case err == nil && !sameSet(got, want):
			t.Errorf("Peers with a cancelled context gave %q without an error, want %q or an error", got, want)
		case discovery.IsMisconfigured(err):
			t.Errorf("Peers with a cancelled context says that somebody has to change something: %v", err)
		}
	}()
	waitFor(t, done, "Peers")
	ask(t, p, want) // and the next call is not spoiled
}

func selfEndsWithContext(t *testing.T, p discovery.Provider, _ []string) {
	id := identifier(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() { // ends with Self, which the test waits for
		defer close(done)
		_, _ = id.Self(ctx)
	}()
	waitFor(t, done, "Self")
	askSelf(t, id)
}

func waitFor(t *testing.T, done <-chan struct{}, call string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(soon):
		t.Fatalf("%s did not return within %v of its context's end", call, soon)
	}
}

func identifier(t *testing.T, p discovery.Provider) discovery.Identifier {
	t.Helper()
	id, ok := p.(discovery.Identifier)
	if !ok {
		t.Skip("the provider is no discovery.Identifier")
	}
	return id
}

func askSelf(t *testing.T, id discovery.Identifier) discovery.Self {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	self, err := id.Self(ctx)
	if err != nil {
		t.Fatalf("Self: %v", err)
	}
	return self
}

func knowsSelf(t *testing.T, p discovery.Provider, _ []string) {
	id := identifier(t, p)
	self := askSelf(t, id)
	if self.Addr != "" && !isAddr(self.Addr) {
		t.Errorf("Self.Addr is %q, want \"ip\" or \"ip:port\"", self.Addr)
	}
	again := askSelf(t, id)
	if again.Name != self.Name || again.Addr != self.Addr || !maps.Equal(again.Tags, self.Tags) {
		t.Errorf("Self gave %+v and then %+v, want equal answers", self, again)
	}
}

func isAddr(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return !ip.IsUnspecified()
	}
	ap, err := netip.ParseAddrPort(s)
	return err == nil && ap.Port() != 0 && !ap.Addr().IsUnspecified()
}

func tagsAreCallers(t *testing.T, p discovery.Provider, _ []string) {
	id := identifier(t, p)
	first := askSelf(t, id)
	kept := maps.Clone(first.Tags)
	for k := range first.Tags {
		first.Tags[k] = "changed by the caller"
	}
	if again := askSelf(t, id); !maps.Equal(again.Tags, kept) {
		t.Errorf("Self gave tags %v after the caller changed its own, want %v", again.Tags, kept)
	}
}
