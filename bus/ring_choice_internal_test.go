package bus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Which consumer has a key is part of the protocol: nodes of all versions must
// agree.
func TestOwnersAreFrozen(t *testing.T) {
	c := newCore(config{})
	c.self.boot.Store(0x1111111111111111)
	r := newRing(c.services, &c.rings, "a")
	var routes []*route
	for _, boot := range []uint64{0, 0x2222222222222222, 0xfedcba9876543210} {
		for num := range uint32(3) { // 0: other nodes do not know it
			rt := &route{home: &r.home, num: num, to: &Consumer{}}
			if boot != 0 {
				rt.num++
				rt.to = c.newLink(Peer{Boot: boot}, nil, nil)
			}
			routes = append(routes, rt)
		}
	}
	for key, want := range map[string]struct {
		hash  uint64
		owner int
	}{
		"":                      {0xf52a15e9a9b5e8, 5},
		"x":                     {0x2c782ac2289118, 7},
		"ada":                   {0x7d3c4ad372fc32, 4},
		"a longer key, ünïcöde": {0x8e17ebb421ec27, 2},
	} {
		ch := c.self.choice(&callOptions{byKey: &key})
		ownerOf := func(rts []*route) *route {
			set := newRouteSet(rts)
			return c.self.owner(ch, &set)
		}
		owner := ownerOf(routes)
		at := slices.Index(routes, owner)
		if h := hashKey(key); h != want.hash || at != want.owner || uint64(ch>>choiceBits) != h {
			t.Errorf("%q: {%#x, %d}, not {%#x, %d}", key, h, at, want.hash, want.owner)
		}
		mixed := append([]*route(nil), routes...)
		rand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		if ownerOf(mixed) != owner {
			t.Errorf("%q: the owner depends on the order of routes", key)
		}
	}
}

// A ring whose last consumer has closed is kept while its keys are held, and not
// longer.
func TestTidyAfterFade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := linkTwo(t)
		for _, eb := range []*EventBus{a, b} {
			block := make(chan struct{})
			c := mustConsume(t, eb, "x", func(context.Context, *Message) error { <-block; return nil })
			synctest.Wait()
			for _, from := range []*EventBus{a, b} {
				if err := from.Send(context.Background(), "x", nil, ByKey("k")); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			close(block)
			synctest.Wait()
			c.Close()
			time.Sleep(time.Second)
		}
		for _, eb := range []*EventBus{a, b} {
			if rings := eb.core.rings.dir.all(); len(rings) > 0 {
				t.Errorf("%d rings are left; the first has %v", len(rings), rings[0].routes.Load().holding)
			}
		}
	})
}

// Choosing by tag or key allocates nothing but the options themselves.
func TestChoiceAllocs(t *testing.T) {
	l, r := benchRoutes(10)
	r.self.tags.Store(&[]string{"zone"})
	key, tag := "ada", "zone"
	for name, set := range map[string]*callOptions{
		"key": {byKey: &key}, "tag": {sameTag: &tag}, "local": {localFirst: true},
	} {
		t.Run(name, func(t *testing.T) {
			h, body := benchFrame()
			o := outgoing{head: h, body: body, owned: true, cost: messageCost + 128}
			allocs(t, 0, func() {
				o.choose(r.self.choice(set))
				to, _ := r.aim(&o)
				rt, _ := r.try(&o, to)
				if rt == nil {
					t.Fatal("no route")
				}
				rt.settle(o.cost, 1)
				l.buf = l.buf[:0]
			})
		})
	}
}

// The owner of a key is the same among few routes and many, and after this node's boot has
// changed, as it joins a cluster.
func TestOwnerAmongMany(t *testing.T) {
	c := newCore(config{})
	r := newRing(c.services, &c.rings, "a")
	l := c.newLink(Peer{Boot: 2}, nil, nil)
	var routes []*route
	for i := range uint32(1000) {
		rt := &route{home: &r.home, num: i, to: &Consumer{}} // the first one has no number
		if i%2 == 1 {
			rt.to = l
		}
		routes = append(routes, rt)
	}
	set := newRouteSet(routes)
	for _, boot := range []uint64{0, 1 << 60} {
		c.self.boot.Store(boot)
		for i := range 5000 {
			name := fmt.Sprint("key ", i)
			ch := c.self.choice(&callOptions{byKey: &name})
			want, _ := c.self.keyOf(ch).heaviest(routes, nil, 0)
			for range 2 { // looked for, and found before
				if got := c.self.owner(ch, &set); got != want {
					t.Fatalf("%s: the owner is %d, among few %d", name, got.num, want.num)
				}
			}
		}
	}
	if set := newRouteSet(make([]*route, 0)); c.self.owner(byKey, &set) != nil {
		t.Error("no routes, and an owner")
	}
	for _, rt := range routes {
		rt.num = 0
	}
	if set := newRouteSet(routes); c.self.owner(byKey, &set) != nil {
		t.Error("routes without numbers, and an owner")
	}
}

// BenchmarkKeyPick is BenchmarkRoutePick by key, each time another one.
func BenchmarkKeyPick(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchKeyPick(b, n) })
	}
}

func benchKeyPick(b *testing.B, n int) {
	l, r := benchRoutes(n)
	h, body := benchFrame()
	o := outgoing{head: h, body: body, owned: true, cost: messageCost + 128}
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		o.choose(r.self.choice(&callOptions{byKey: &keys[i%len(keys)]}))
		to, _ := r.aim(&o)
		rt, _ := r.try(&o, to)
		if rt == nil {
			b.Fatal("no route")
		}
		rt.settle(o.cost, 1)
		l.buf = l.buf[:0]
	}
}

// BenchmarkWaiting is a grant beside 10,000 waiters of as many keys, of which none
// can be placed.
// BenchmarkWaitingLocal is one grant beside 10,000 messages that only consumers of
// this node may take, of which none has room.
func BenchmarkWaitingLocal(b *testing.B) {
	c := newCore(config{})
	r := newRing(c.services, &c.rings, "a")
	for range 2 {
		cn := &Consumer{node: &c.own, concurrency: 1, window: windowFloor}
		cn.local = route{home: &r.home, to: cn, window: windowFloor, used: windowFloor}
		c.rings.addRoute(&cn.local)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for range 10_000 {
		w := &waiter{ready: make(chan struct{})}
		w.o.choose(localOnly)
		r.enqueueLocked(w)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.grantLocked()
	}
}

func BenchmarkWaiting(b *testing.B) {
	_, r := benchRoutes(10)
	for _, rt := range r.routes.Load().all() {
		rt.used = rt.window
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range uint64(10_000) {
		w := &waiter{ready: make(chan struct{})}
		w.o.choose(byKey | choice(mix(i))<<choiceBits)
		r.enqueueLocked(w)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.grantLocked()
	}
}
