package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// Names are looked up side by side, each with a time of its own: one that hangs,
// or a hundred, hide none, and each is delivered as soon as it is known.
func TestNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := netip.MustParseAddrPort("10.0.0.1:7946")
		n := names{lookup: func(ctx context.Context, told string) ([]netip.AddrPort, error) {
			switch told {
			case "good":
				time.Sleep(time.Millisecond)
				return []netip.AddrPort{good}, nil
			case "bad":
				return nil, errors.New("no such name")
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		var list []string
		for i := range 100 {
			list = append(list, fmt.Sprint("hangs", i))
		}
		list = append(list, "bad", "10.0.0.2:7946", "good")
		began := time.Now()
		at := map[string]time.Duration{}
		failed := 0
		for r := range n.resolve(t.Context(), list) {
			at[r.told] = time.Since(began)
			if r.err != nil {
				failed++
			} else if len(r.addrs) != 1 {
				t.Errorf("%s leads to %v", r.told, r.addrs)
			}
		}
		if at["10.0.0.2:7946"] > 0 || at["good"] > 10*time.Second || failed != 101 || time.Since(began) > 13*time.Second {
			t.Errorf("an address after %v, the good name after %v, %d failed, all after %v", at["10.0.0.2:7946"], at["good"], failed, time.Since(began))
		}
	})
}

// A name that fails leads where it led last, for as long as discovery tells it.
func TestNamesRemember(t *testing.T) {
	t.Parallel()
	at := netip.MustParseAddrPort("10.0.0.1:7946")
	down := false
	n := names{lookup: func(context.Context, string) ([]netip.AddrPort, error) {
		if down {
			return nil, errors.New("the name server is down")
		}
		return []netip.AddrPort{at}, nil
	}}
	for _, step := range []struct {
		down bool
		list []string
		want int
	}{
		{false, []string{"a"}, 1}, {true, []string{"a"}, 1}, {true, []string{"a"}, 1}, {true, nil, 0}, {true, []string{"a"}, 0},
	} {
		down = step.down
		got := 0
		for r := range n.resolve(t.Context(), step.list) {
			got += len(r.addrs)
			if (r.err != nil) != step.down {
				t.Errorf("error %v while down is %v", r.err, down)
			}
		}
		if got != step.want {
			t.Errorf("%+v: %d addresses", step, got)
		}
	}
}
