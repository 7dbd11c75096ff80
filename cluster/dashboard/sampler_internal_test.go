package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// counted is a source that tells of two nodes, and counts who asks.
type counted struct {
	asked  atomic.Int64
	rested atomic.Int64
	gone   atomic.Bool
	takes  time.Duration
	happen chan inspect.Event
}

func newCounted() *counted { return &counted{happen: make(chan inspect.Event)} }

func (c *counted) cluster(ctx context.Context, _ inspect.Query) (inspect.Cluster, error) {
	n := c.asked.Add(1)
	select {
	case <-time.After(c.takes):
	case <-ctx.Done():
		return inspect.Cluster{}, ctx.Err()
	}
	if c.gone.Load() {
		return inspect.Cluster{}, errors.New("it is gone")
	}
	return twoNodes(uint64(n)), nil
}

func (c *counted) events(ctx context.Context, _ int, f func(inspect.Event) bool) {
	for !c.gone.Load() {
		select {
		case e := <-c.happen:
			f(e)
		case <-ctx.Done():
			return
		}
	}
}

func (c *counted) call(context.Context, inspect.Call) (inspect.Answer, error) {
	return inspect.Answer{}, nil
}

func (c *counted) listen(ctx context.Context, _ inspect.Listen, known func(), f func(inspect.Said) bool) error {
	known()
	for ctx.Err() == nil && f(inspect.Said{Address: "x"}) {
	}
	return nil
}

func (c *counted) rest() { c.rested.Add(1) }

// twoNodes is a snapshot in which each node has sent n times ten messages.
func twoNodes(n uint64) inspect.Cluster {
	c := inspect.Cluster{Version: 1, Time: time.Now(), Asker: "a-1"}
	for _, name := range []string{"a", "b"} {
		other := map[string]string{"a": "b", "b": "a"}[name]
		out := n * 1000
		c.Members = append(c.Members, inspect.Member{ID: name + "-1", Name: name, Boot: name, Status: "alive"})
		c.Nodes = append(c.Nodes, inspect.Node{
			Time: time.Now(), Self: inspect.Self{ID: name + "-1", Name: name, Boot: name, State: "ready", Cluster: "c"},
			Links:     []inspect.Link{{ID: other + "-1", Name: other, Boot: other, BytesOut: &out, Believed: &inspect.Routes{Count: 1, Digest: other}}},
			Routes:    &inspect.Routes{Count: 1, Digest: name},
			Addresses: []inspect.Address{{Address: "x", Consumers: 2, Local: 1, Messages: inspect.Messages{Sent: 10 * n}}},
			Messages:  inspect.Messages{Sent: 10 * n},
		})
	}
	return c
}

// page is a tab that is open: what it was sent.
type page struct {
	httptest.ResponseRecorder
	mu    sync.Mutex
	read  bytes.Buffer
	stuck chan struct{} // if it is not nil it reads nothing until that is closed
	head  http.Header
	code  int
}

func (p *page) Header() http.Header { return p.head }
func (p *page) WriteHeader(code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.code = code
}
func (p *page) Flush() {}

func (p *page) Write(b []byte) (int, error) {
	if p.stuck != nil {
		<-p.stuck
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read.Write(b)
}

func (p *page) got(kind string) (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, part := range strings.Split(p.read.String(), "\n\n") {
		if data, ok := strings.CutPrefix(part, "event: "+kind+"\ndata: "); ok {
			all = append(all, data)
		}
	}
	return all
}

// openPage opens a tab; close closes it, and waits until the handler has returned.
func openPage(s *sampler, stuck chan struct{}) (p *page, closed func()) {
	ctx, cancel := context.WithCancel(context.Background())
	p = &page{head: http.Header{}, stuck: stuck}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve(p, httptest.NewRequestWithContext(ctx, http.MethodGet, "/stream", nil))
	}()
	return p, func() {
		cancel()
		<-done
	}
}

// TestOneQuestion: nobody asks while nobody looks, and one question a second is for all.
func TestOneQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := newCounted()
		s := newSampler(from)
		time.Sleep(time.Minute)
		if from.asked.Load() != 0 {
			t.Fatal("it asks while nobody looks")
		}
		var pages []*page
		var closes []func()
		for range 50 {
			p, closed := openPage(s, nil)
			pages, closes = append(pages, p), append(closes, closed)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		if n := from.asked.Load(); n < 10 || n > 12 {
			t.Errorf("in 10 s it asked %d times", n)
		}
		for _, p := range pages {
			if n := len(p.got("frame")); n < 10 {
				t.Fatalf("a tab was sent %d frames", n)
			}
		}
		for _, closed := range closes {
			closed()
		}
		n := from.asked.Load()
		time.Sleep(time.Minute)
		if from.asked.Load() != n || from.rested.Load() != 1 {
			t.Error("it goes on when nobody looks any more")
		}
		p, closed := openPage(s, nil)
		defer closed()
		synctest.Wait()
		if len(p.got("frame")) != 1 {
			t.Error("it does not begin again")
		}
	})
}

// TestAtOnce: what happens is told at once, and a new sample with it, though not for each
// of very many.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := newCounted()
		s := newSampler(from)
		p, closed := openPage(s, nil)
		defer closed()
		time.Sleep(1500 * time.Millisecond)
		frames := len(p.got("frame"))
		from.happen <- inspect.Event{Kind: inspect.KindFailed, Member: "b-1"}
		synctest.Wait()
		if events := p.got("events"); !strings.Contains(events[len(events)-1], `"failed"`) {
			t.Errorf("events %q", events)
		}
		if len(p.got("frame")) != frames+1 {
			t.Error("no sample was taken at once")
		}
		asked := from.asked.Load()
		for range 1000 {
			from.happen <- inspect.Event{Kind: inspect.KindJoined, Member: "b-1"}
			time.Sleep(time.Millisecond)
		}
		if n := from.asked.Load() - asked; n > 6 {
			t.Errorf("1,000 events in a second made it ask %d times", n)
		}
	})
}

// TestManyTabs: there are 200 at most, and a line says so to the next one.
func TestManyTabs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSampler(newCounted())
		var last func()
		for range MaxTabs {
			_, closed := openPage(s, nil)
			defer closed()
			last = closed
		}
		synctest.Wait()
		p, closed := openPage(s, nil)
		closed()
		if p.code != http.StatusServiceUnavailable || p.read.String() != "200 pages are open already; close one\n" {
			t.Errorf("page %d: status %d, %q", MaxTabs+1, p.code, p.read.String())
		}
		last()
		p, closed = openPage(s, nil)
		defer closed()
		synctest.Wait()
		if p.code == http.StatusServiceUnavailable || len(p.got("frame")) == 0 {
			t.Error("a place that is free again is not taken")
		}
	})
}

// TestSlowTab: a tab that does not read loses frames and events, holds up nobody, and
// then is sent the newest.
func TestSlowTab(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := newCounted()
		s := newSampler(from)
		stuck := make(chan struct{})
		slow, closeSlow := openPage(s, stuck)
		quick, closeQuick := openPage(s, nil)
		for range 2000 {
			from.happen <- inspect.Event{Kind: inspect.KindJoined}
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		s.mu.Lock()
		for tab := range s.tabs {
			tab.mu.Lock()
			if len(tab.events) > keptEvents {
				t.Errorf("%d events wait for a tab", len(tab.events))
			}
			tab.mu.Unlock()
		}
		s.mu.Unlock()
		if n := len(quick.got("frame")); n < 20 {
			t.Errorf("the other tab was sent %d frames", n)
		}
		close(stuck)
		synctest.Wait()
		frames, all := slow.got("frame"), quick.got("frame")
		if len(frames) != 1 || frames[0] != all[len(all)-1] {
			t.Errorf("the slow tab was sent %d frames", len(frames))
		}
		closeSlow()
		closeQuick()
	})
}

// TestLost: tabs are told when no node answers, and why, and see the cluster again when
// one does.
func TestLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := newCounted()
		p, closed := openPage(newSampler(from), nil)
		defer closed()
		time.Sleep(2 * time.Second)
		from.gone.Store(true)
		from.happen <- inspect.Event{}
		time.Sleep(2 * time.Second)
		frames := len(p.got("frame"))
		if lost := p.got("lost"); len(lost) == 0 || lost[0] != `"it is gone"` {
			t.Fatalf("told that it is lost: %q", lost)
		}
		from.gone.Store(false)
		time.Sleep(2 * time.Second)
		if len(p.got("frame")) <= frames {
			t.Error("it does not come back")
		}
		from.happen <- inspect.Event{Kind: inspect.KindLinked}
		synctest.Wait()
		if events := p.got("events"); !strings.Contains(events[len(events)-1], `"linked"`) {
			t.Errorf("events %q", events)
		}
	})
}

// TestSlowCluster: where a question takes long, it rests as long.
func TestSlowCluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := newCounted()
		from.takes = 2 * time.Second
		_, closed := openPage(newSampler(from), nil)
		defer closed()
		time.Sleep(time.Minute)
		if n := from.asked.Load(); n < 14 || n > 16 {
			t.Errorf("in a minute it asked %d times for what takes 2 s", n)
		}
	})
}

// TestWatch: of very many messages the first of each second are shown, and the others
// counted.
func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &page{head: http.Header{}}
		s := &watch{w: w, ctl: http.NewResponseController(w)}
		for range 3 * watchRate {
			s.hear(inspect.Said{Address: "x"})
		}
		time.Sleep(time.Second)
		s.hear(inspect.Said{Address: "x"})
		lines := strings.Split(strings.TrimSpace(w.read.String()), "\n")
		var last heard
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != watchRate+1 || last.Skipped != 2*watchRate {
			t.Errorf("%d lines, %d skipped: %v", len(lines), last.Skipped, err)
		}
	})
}
