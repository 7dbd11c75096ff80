package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/discoverytest"
)

var errDown = errors.New("registry down")

func down(context.Context) ([]string, error) { return nil, errDown }

// hang waits until its context ends.
func hang(ctx context.Context) ([]string, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func TestCombinatorsConform(t *testing.T) {
	t.Parallel()
	a, b := discovery.Static("a:1", "b:1"), placed{discovery.Static("b:1", "c:1")}
	for name, tt := range map[string]struct {
		made discovery.Provider
		want []string
	}{
		"first":               {discovery.First(a, b), []string{"a:1", "b:1"}},
		"first after failure": {discovery.First(discovery.ProviderFunc(down), b), []string{"b:1", "c:1"}},
		"merge":               {discovery.Merge(a, b), []string{"a:1", "b:1", "c:1"}},
		"merge of one":        {discovery.Merge(b), []string{"b:1", "c:1"}},
		"last good":           {discovery.LastGood(b, nil), []string{"b:1", "c:1"}},
		"all together":        {discovery.Merge(discovery.First(a), discovery.LastGood(b, nil)), []string{"a:1", "b:1", "c:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			discoverytest.Run(t, func(*testing.T) discovery.Provider { return tt.made }, tt.want)
		})
	}
}

func TestCombinatorsKeepTheIdentifier(t *testing.T) {
	t.Parallel()
	plain, id := discovery.Static(), placed{discovery.Static()}
	for name, p := range map[string]discovery.Provider{
		"First":    discovery.First(plain, id),
		"Merge":    discovery.Merge(plain, id),
		"LastGood": discovery.LastGood(id, nil),
	} {
		made, ok := p.(discovery.Identifier)
		if !ok {
			t.Errorf("%s of an Identifier is none", name)
			continue
		}
		if self, err := made.Self(t.Context()); err != nil || self.Name != "rack-7" {
			t.Errorf("%s: Self gave %+v, %v", name, self, err)
		}
	}
	for name, p := range map[string]discovery.Provider{
		"First": discovery.First(plain), "Merge": discovery.Merge(plain), "LastGood": discovery.LastGood(plain, nil),
	} {
		if _, ok := p.(discovery.Identifier); ok {
			t.Errorf("%s of no Identifier is one", name)
		}
	}
}

// An empty answer counts, but not as a substitute for one that could not be had.
func TestFirst(t *testing.T) {
	t.Parallel()
	fail, none, some := discovery.ProviderFunc(down), discovery.Static(), discovery.Static("a:1")
	for name, tt := range map[string]struct {
		providers []discovery.Provider
		want      []string
		err       bool
	}{
		"empty is an answer":           {[]discovery.Provider{none, some}, nil, false},
		"failure, then some":           {[]discovery.Provider{fail, some}, []string{"a:1"}, false},
		"failure, then none":           {[]discovery.Provider{fail, none}, nil, true},
		"failure, then none, and some": {[]discovery.Provider{fail, none, some}, []string{"a:1"}, false},
		"all fail":                     {[]discovery.Provider{fail, fail}, nil, true},
	} {
		got, err := discovery.First(tt.providers...).Peers(t.Context())
		if !slices.Equal(got, tt.want) || errors.Is(err, errDown) != tt.err || (err != nil) != tt.err {
			t.Errorf("%s: First gave %q, %v; want %q, error %v", name, got, err, tt.want, tt.err)
		}
	}
}

func TestFirstLeavesTimeForTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		start := time.Now()
		slow := discovery.ProviderFunc(hang)
		got, err := discovery.First(slow, slow, discovery.Static("a:1")).Peers(ctx)
		if err != nil || !slices.Equal(got, []string{"a:1"}) || time.Since(start) != 6*time.Second {
			t.Fatalf("First gave %q, %v after %v; want a:1 after 6s", got, err, time.Since(start))
		}
	})
}

func TestMergeTakesTheFirstOfEachFirst(t *testing.T) {
	t.Parallel()
	got, err := discovery.Merge(discovery.Static("a:1", "a:2", "a:3"), discovery.Static(), discovery.Static("b:1", "a:1")).Peers(t.Context())
	if want := []string{"a:1", "b:1", "a:2", "a:3"}; err != nil || !slices.Equal(got, want) {
		t.Fatalf("Merge gave %q, %v; want %q", got, err, want)
	}
}

func TestMergeGivesNoPartOfAnAnswer(t *testing.T) {
	t.Parallel()
	got, err := discovery.Merge(discovery.Static("a:1"), discovery.ProviderFunc(down)).Peers(t.Context())
	if got != nil || !errors.Is(err, errDown) {
		t.Fatalf("Merge gave %q, %v; want an error alone", got, err)
	}
}

func TestMergeAsksAllAtOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	var both sync.WaitGroup
	both.Add(2)
	meet := discovery.ProviderFunc(func(context.Context) ([]string, error) {
		asked.Add(1)
		both.Done()
		both.Wait() // for ever, were the other one asked only afterwards
		return []string{"a:1"}, nil
	})
	if got, err := discovery.Merge(meet, meet).Peers(t.Context()); err != nil || !slices.Equal(got, []string{"a:1"}) || asked.Load() != 2 {
		t.Fatalf("Merge gave %q, %v after %d questions", got, err, asked.Load())
	}
}

func TestLastGood(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	next, failure := []string{}, error(nil)
	p := discovery.LastGood(discovery.ProviderFunc(func(context.Context) ([]string, error) { return next, failure }),
		slog.New(slog.NewTextHandler(&log, nil)))
	for i, step := range []struct {
		list []string
		err  error
		want []string
		fail bool
	}{
		{nil, errDown, nil, true},     // nothing is known
		{[]string{}, nil, nil, false}, // nobody is there
		{nil, errDown, nil, true},     // and may be by now
		{[]string{"a:1", "b:1"}, nil, []string{"a:1", "b:1"}, false},
		{nil, errDown, []string{"a:1", "b:1"}, false},
		{nil, errDown, []string{"a:1", "b:1"}, false},
		{[]string{"c:1"}, nil, []string{"c:1"}, false},
		{[]string{"x:1"}, errDown, []string{"c:1"}, false}, // a list beside an error is none
		{[]string{}, nil, nil, false},
		{nil, errDown, nil, true},
	} {
		next, failure = step.list, step.err
		got, err := p.Peers(t.Context())
		if !slices.Equal(got, step.want) || (err != nil) != step.fail || step.fail && !errors.Is(err, errDown) {
			t.Errorf("step %d: LastGood gave %q, %v; want %q, failure %v", i, got, err, step.want, step.fail)
		}
		for i := range got {
			got[i] = "changed by the caller"
		}
	}
	if n := strings.Count(log.String(), "its last answer is used"); n != 2 || strings.Count(log.String(), "answers again") != 2 {
		t.Errorf("each spell should be logged once at its start and once at its end:\n%s", &log)
	}
}

func TestCombinatorsWithoutProviders(t *testing.T) {
	t.Parallel()
	for says, p := range map[string]discovery.Provider{
		"First has no providers":                          discovery.First(),
		"Merge has no providers":                          discovery.Merge(),
		"First: provider 2 of 2 is nil":                   discovery.First(discovery.Static(), nil),
		"Merge: provider 1 of 1 is nil":                   discovery.Merge(nil),
		"LastGood: the provider is nil":                   discovery.LastGood(nil, nil),
		"provider 2 of 2 is nil (*discovery_test.placed)": discovery.First(discovery.Static(), (*placed)(nil)),
		"the provider is nil (*discovery_test.placed)":    discovery.LastGood((*placed)(nil), nil),
	} {
		if _, err := p.Peers(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error is %v, want one with %q", err, says)
		}
	}
}

// A provider that does not return from Peers has failed, as with an error.
func TestProviderDoesNotReturn(t *testing.T) {
	t.Parallel()
	for how, fail := range map[string]func(){"panicked": func() { panic("no") }, "ended its goroutine": runtime.Goexit} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			fails := false
			bad := discovery.ProviderFunc(func(context.Context) ([]string, error) {
				if fails {
					fail()
				}
				return []string{"bad:1"}, nil
			})
			good := discovery.Static("good:1")
			var log bytes.Buffer
			kept := discovery.LastGood(bad, slog.New(slog.NewTextHandler(&log, nil)))
			if _, err := kept.Peers(t.Context()); err != nil {
				t.Fatal(err)
			}
			fails = true
			if list, err := kept.Peers(t.Context()); err != nil || !slices.Equal(list, []string{"bad:1"}) {
				t.Errorf("LastGood: %q, %v", list, err)
			}
			if s := log.String(); !strings.Contains(s, how) || !strings.Contains(s, "stack=") {
				t.Errorf("LastGood logged %q", s)
			}
			if list, err := discovery.First(bad, good).Peers(t.Context()); err != nil || !slices.Equal(list, []string{"good:1"}) {
				t.Errorf("First: %q, %v", list, err)
			}
			for name, p := range map[string]discovery.Provider{"Merge": discovery.Merge(good, bad), "First": discovery.First(bad)} {
				if _, err := p.Peers(t.Context()); err == nil || !strings.Contains(err.Error(), "Peers of discovery.ProviderFunc "+how) {
					t.Errorf("%s: error %v", name, err)
				}
			}
		})
	}
}
