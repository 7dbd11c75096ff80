package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// A nil logger logs nowhere, whatever there is to say.
func TestNilLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, bus.WithLogger(nil))
		consume(t, c.Bus(1), "a", func(context.Context, *bus.Message) error { panic("said") })
		if _, err := c.Bus(0).Request(t.Context(), "a", nil); err == nil {
			t.Error("the handler has not panicked")
		}
		c.Break(0, 1)
	})
}

// An address that cannot be told to other nodes is refused at once; it does
// not cost the links.
func TestAddressNotUTF8(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet)
		if _, err := c.Bus(1).Consume("\xff", bus.HandlerFunc(nothing)); err == nil {
			t.Error("Consume took an address that is not UTF-8")
		}
		time.Sleep(time.Second)
		if len(c.Bus(0).Peers()) != 1 {
			t.Error("the link has ended")
		}
	})
}

// An option on a verb that it does not fit is an error of the call that names
// both; on the others it is none.
func TestOptionsOfCalls(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		replied := make(chan error, 1)
		var replyWith []bus.CallOption // as the request that is under way says
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			if !m.WantsReply() {
				return nil
			}
			err := m.Reply(ctx, nil, replyWith...)
			select {
			case <-replied: // of a request for which nobody asked
			default:
			}
			replied <- err
			return nil
		})
		for _, a := range []string{"a", "all"} {
			if _, err := p.from.Consume(a, bus.HandlerFunc(nothing), bus.LocalOnly()); err != nil {
				t.Fatal(err)
			}
		}
		reply := func(opts ...bus.CallOption) error {
			for {
				replyWith = opts
				if _, err := p.from.Request(t.Context(), "a", nil); err != nil {
					return err
				}
				select {
				case err := <-replied:
					return err
				default: // the other consumer's turn
				}
			}
		}
		verbs := []struct {
			name string
			call func(opts ...bus.CallOption) error
		}{
			{"Send", func(opts ...bus.CallOption) error { return p.from.Send(t.Context(), "a", nil, opts...) }},
			{"Publish", func(opts ...bus.CallOption) error { return p.from.Publish(t.Context(), "a", nil, opts...) }},
			{"Reply", reply},
			{"RequestAll", func(opts ...bus.CallOption) error {
				_, err := p.from.RequestAll(t.Context(), "all", nil, opts...)
				return err
			}},
			{"Request", func(opts ...bus.CallOption) error {
				replyWith = nil
				_, err := p.from.Request(t.Context(), "a", nil, opts...)
				select {
				case <-replied:
				default:
				}
				return err
			}},
		}
		for _, o := range []struct {
			name string
			opts []bus.CallOption
			fits []string
		}{
			{"WithHeader", []bus.CallOption{bus.WithHeader("k", "v")}, []string{"Send", "Publish", "Request", "RequestAll", "Reply"}},
			{"Idempotent", []bus.CallOption{bus.Idempotent()}, []string{"Request"}},
			{"Gossip", []bus.CallOption{bus.Gossip()}, []string{"Publish"}},
			{"NoWait", []bus.CallOption{bus.NoWait()}, []string{"Publish"}},
			{"LocalOnly", []bus.CallOption{bus.LocalOnly()}, []string{"Send", "Publish", "Request", "RequestAll"}},
			{"LocalFirst", []bus.CallOption{bus.LocalFirst()}, []string{"Send", "Request"}},
			{"SameTag", []bus.CallOption{bus.SameTag("zone")}, []string{"Send", "Request"}},
			{"ByKey", []bus.CallOption{bus.ByKey("k")}, []string{"Send", "Request"}},
			{"Within", []bus.CallOption{bus.Within(time.Minute)}, []string{"Send", "Publish", "Request", "RequestAll"}},
			{"Within with no time", []bus.CallOption{bus.Within(0)}, nil},
			{"Gossip with Within", []bus.CallOption{bus.Gossip(), bus.Within(time.Minute)}, nil},
			{"LocalFirst with SameTag and LocalOnly", []bus.CallOption{bus.LocalFirst(), bus.SameTag("zone"), bus.LocalOnly()}, []string{"Send", "Request"}},
			{"ByKey with LocalOnly", []bus.CallOption{bus.ByKey("k"), bus.LocalOnly()}, nil},
			{"ByKey with LocalFirst", []bus.CallOption{bus.ByKey("k"), bus.LocalFirst()}, nil},
			{"Gossip with LocalOnly", []bus.CallOption{bus.Gossip(), bus.LocalOnly()}, nil},
			{"SameTag with an empty name", []bus.CallOption{bus.SameTag("")}, nil},
			{"nil option", []bus.CallOption{bus.WithHeader("k", "v"), nil}, nil},
		} {
			for _, v := range verbs {
				err := v.call(o.opts...)
				if slices.Contains(o.fits, v.name) {
					if err != nil {
						t.Errorf("%s with %s: %v", v.name, o.name, err)
					}
					continue
				}
				first, _, _ := strings.Cut(o.name, " with")
				if err == nil || !strings.Contains(err.Error(), first) || !strings.Contains(err.Error(), v.name) {
					t.Errorf("%s with %s: %v", v.name, o.name, err)
				}
			}
		}
	})
}

// An option of the bus that cannot be panics where it is made, and says what is
// wrong; the limits of the others are no error.
func TestOptionsOfNew(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func() bus.Option
		says string // empty: nothing
	}{
		"nil":                   {func() bus.Option { return nil }, "nil Option"},
		"negative drain time":   {func() bus.Option { return bus.WithDrainTimeout(-time.Second) }, "WithDrainTimeout(-1s)"},
		"no drain time":         {func() bus.Option { return bus.WithDrainTimeout(0) }, ""},
		"longest drain time":    {func() bus.Option { return bus.WithDrainTimeout(math.MaxInt64) }, ""},
		"negative memory":       {func() bus.Option { return bus.WithMemory(-1) }, "WithMemory(-1)"},
		"no memory":             {func() bus.Option { return bus.WithMemory(0) }, ""},
		"all memory":            {func() bus.Option { return bus.WithMemory(math.MaxInt) }, ""},
		"negative body limit":   {func() bus.Option { return bus.WithBodyLimit(-1) }, ""},
		"largest body limit":    {func() bus.Option { return bus.WithBodyLimit(math.MaxInt) }, ""},
		"no logger":             {func() bus.Option { return bus.WithLogger(nil) }, ""},
		"no event function":     {func() bus.Option { return bus.WithEvents(nil) }, ""},
		"nil inbound":           {func() bus.Option { return bus.WithInbound(nil) }, "WithInbound: nil interceptor"},
		"nil outbound":          {func() bus.Option { return bus.WithOutbound(nil) }, "WithOutbound: nil interceptor"},
		"outbound without next": {func() bus.Option { return bus.WithOutbound(func(bus.Caller) bus.Caller { return nil }) }, "WithOutbound: an interceptor returned a nil Caller"},
		"codec without a name": {func() bus.Option {
			return bus.WithCodec("", func(int) ([]byte, error) { return nil, nil }, func([]byte) (int, error) { return 0, nil })
		}, `WithCodec("")`},
		"codec without a function": {func() bus.Option { return bus.WithCodec[int, int]("int", nil, nil) }, "a function is nil"},
	} {
		var said any
		func() {
			defer func() { said = recover() }()
			eb := bus.New(quiet, c.make())
			consume(t, eb, "a", nothing)
			if err := eb.Send(t.Context(), "a", make([]byte, 64<<10)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			eb.Close()
		}()
		if c.says == "" && said != nil || c.says != "" && !strings.Contains(fmt.Sprint(said), c.says) {
			t.Errorf("%s: panic %v; want %q", name, said, c.says)
		}
	}
}

func TestOptionsOfConsume(t *testing.T) {
	t.Parallel()
	eb := bus.New(quiet)
	t.Cleanup(func() { eb.Close() })
	for _, c := range []struct {
		opt bus.ConsumeOption
		bad string // in the error
	}{
		{bus.WithWindow(1 << 10), ""},
		{bus.WithWindow(64 << 20), ""},
		{bus.WithWindow(1<<10 - 1), "WithWindow of 1023 bytes"},
		{bus.WithWindow(64<<20 + 1), "WithWindow"},
		{bus.WithWindow(0), "WithWindow"},
		{bus.WithWindow(-1), "WithWindow"},
		{bus.WithConcurrency(1), ""},
		{bus.WithConcurrency(1 << 20), ""},
		{bus.WithConcurrency(0), "WithConcurrency of 0"},
		{bus.WithConcurrency(-5), "WithConcurrency of -5"},
		{bus.LocalOnly(), ""},
		{nil, "nil option"},
	} {
		cn, err := eb.Consume("a", bus.HandlerFunc(nothing), c.opt)
		if (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%v", err)
		}
		if err == nil {
			cn.Close()
		}
	}
}

// Addresses are text of 1 to 255 bytes, whatever else is in it, for all verbs.
func TestAddresses(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		for _, c := range []struct {
			address  string
			ok, long bool
		}{
			{"", false, false},
			{" ", true, false},
			{"a b\x00c/∂", true, false},
			{strings.Repeat("a", 255), true, false},
			{"\xff", false, false},
			{"caf\xc3", false, false},
			{strings.Repeat("a", 256), false, true},
			{strings.Repeat("é", 128), false, true},
		} {
			cn, consumed := p.to.Consume(c.address, bus.HandlerFunc(nothing))
			if consumed == nil {
				if err := cn.Known(t.Context()); err != nil {
					t.Fatal(err)
				}
				if cn.Address() != c.address {
					t.Errorf("address %q of a consumer of %q", cn.Address(), c.address)
				}
			}
			_, asked := p.from.Request(t.Context(), c.address, nil)
			_, generic := bus.Request[any](t.Context(), p.from, c.address, nil)
			for verb, err := range map[string]error{
				"Consume": consumed, "Request": asked, "generic Request": generic,
				"Send": p.from.Send(t.Context(), c.address, nil), "Publish": p.from.Publish(t.Context(), c.address, nil),
				"Gossip": p.from.Publish(t.Context(), c.address, nil, bus.Gossip()),
			} {
				if (err == nil) != c.ok || errors.Is(err, bus.ErrTooLarge) != c.long || err != nil && !strings.Contains(err.Error(), "address") {
					t.Errorf("%s to %q: %v", verb, c.address, err)
				}
			}
		}
	})
}

func TestNilHandlers(t *testing.T) {
	t.Parallel()
	eb := bus.New(quiet)
	t.Cleanup(func() { eb.Close() })
	for name, h := range map[string]bus.Handler{"nil": nil, "nil function": bus.HandlerFunc(nil)} {
		if _, err := eb.Consume("a", h); err == nil || !strings.Contains(err.Error(), `nil handler for "a"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := eb.Send(t.Context(), "a", nil); !errors.Is(err, bus.ErrNoConsumer) {
		t.Errorf("a refused consumer is there: %v", err)
	}
}

// The gossip lane's limit is exact, and counts address, headers and body.
func TestGossipLimit(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		got := make(chan int, 1)
		consume(t, p.to, "news", func(_ context.Context, m *bus.Message) error { got <- len(m.Body); return nil })
		for size, ok := range map[int]bool{0: true, 1024 - 4 - 2: true, 1024 - 4 - 1: false, 64 << 10: false, 64<<10 + 1: false} {
			err := p.from.Publish(t.Context(), "news", make([]byte, size), bus.Gossip(), bus.WithHeader("k", "v"))
			if !ok {
				if !errors.Is(err, bus.ErrTooLarge) {
					t.Errorf("%d bytes: %v", size, err)
				}
			} else if n := receive(t, got); err != nil || n != size {
				t.Errorf("%d bytes: %d came, %v", size, n, err)
			}
		}
	})
}

// What the lane refuses is an error of the call.
func TestGossipRefused(t *testing.T) {
	t.Parallel()
	eb := bus.New(quiet)
	t.Cleanup(func() { eb.Close() })
	budget := fmt.Errorf("%w: the budget is spent", bus.ErrBusy)
	if _, err := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, gossiperFunc(func([]byte) error { return budget })); err != nil {
		t.Fatal(err)
	}
	if err := eb.Publish(t.Context(), "news", nil, bus.Gossip()); !errors.Is(err, bus.ErrBusy) || !strings.Contains(err.Error(), "news") {
		t.Error(err)
	}
}

type gossiperFunc func([]byte) error

func (f gossiperFunc) Gossip(payload []byte) error { return f(payload) }

// A context that has ended ends every call at once, with its own error.
func TestContextThatHasEnded(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		c := consume(t, p.to, "a", func(context.Context, *bus.Message) error { t.Error("handled"); return nil })
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		scope := p.to.Scope()
		for ctx, want := range map[context.Context]error{canceled: context.Canceled, late: context.DeadlineExceeded} {
			_, asked := p.from.Request(ctx, "a", nil)
			_, nobody := p.from.Request(ctx, "nobody", nil)
			for verb, err := range map[string]error{
				"Send": p.from.Send(ctx, "a", nil), "Publish": p.from.Publish(ctx, "a", nil), "Request": asked, "Request of nobody": nobody,
			} {
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, not %v", verb, err, want)
				}
			}
			if err := c.Known(ctx); err != nil { // it is, already
				t.Errorf("Known: %v", err)
			}
			if err := scope.Do(ctx, func(context.Context) error { t.Error("Do ran"); return nil }); !errors.Is(err, want) {
				t.Errorf("Do, with the turn free: %v, not %v", err, want)
			}
			began, release := make(chan struct{}), make(chan struct{})
			ended := make(chan error)
			go func() {
				ended <- scope.Do(t.Context(), func(context.Context) error { close(began); <-release; return nil })
			}()
			receive(t, began)
			if err := scope.Do(ctx, func(context.Context) error { t.Error("Do ran"); return nil }); !errors.Is(err, want) {
				t.Errorf("Do: %v, not %v", err, want)
			}
			close(release)
			if err := receive(t, ended); err != nil {
				t.Error(err)
			}
		}
	})
}

// Replies to what is no request, and on a bus that is closed.
func TestCallsOutOfPlace(t *testing.T) {
	t.Parallel()
	eb := bus.New(quiet)
	got := make(chan *bus.Message, 1)
	if _, err := eb.Consume("a", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error { got <- m; return nil })); err != nil {
		t.Fatal(err)
	}
	for verb, err := range map[string]error{"send": eb.Send(t.Context(), "a", nil), "publish": eb.Publish(t.Context(), "a", nil)} {
		if err != nil {
			t.Fatal(err)
		}
		if m := receive(t, got); m.WantsReply() || m.Reply(t.Context(), nil) == nil {
			t.Errorf("a %s was replied to", verb)
		}
	}
	reply, err := eb.Request(t.Context(), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Address() != "" || reply.WantsReply() || reply.Rerouted() || reply.Reply(t.Context(), nil) == nil {
		t.Error("a reply is no request")
	}
	m := receive(t, got)
	if err := m.Reply(t.Context(), nil); err == nil {
		t.Error("an answered request was replied to")
	}
	if err := eb.Close(); err != nil {
		t.Fatal(err)
	}
	_, asked := eb.Request(t.Context(), "a", nil)
	_, consumed := eb.Consume("a", bus.HandlerFunc(nothing))
	_, scoped := eb.Scope().Consume("a", bus.HandlerFunc(nothing))
	_, attached := eb.Attach(bus.Peer{}, nil)
	done := eb.Scope().Do(t.Context(), func(context.Context) error {
		_, err := eb.Scope().Consume("a", bus.HandlerFunc(nothing))
		return err
	})
	for verb, err := range map[string]error{
		"Request": asked, "Consume": consumed, "Consume in a scope": scoped, "Attach": attached, "Do": done,
		"Send": eb.Send(t.Context(), "a", nil), "Publish": eb.Publish(t.Context(), "a", nil), "Gossip": eb.Publish(t.Context(), "a", nil, bus.Gossip()),
	} {
		if !errors.Is(err, bus.ErrClosed) {
			t.Errorf("%s after Close: %v", verb, err)
		}
	}
	if eb.Close() != nil {
		t.Error("closing again")
	}
}

// Links that may not be are refused, and their connections closed.
func TestLinksOutOfPlace(t *testing.T) {
	t.Parallel()
	eb := bus.New(quiet)
	attachment, err := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eb.Attach(bus.Peer{Name: "n0", Boot: 1}, nil); err == nil || errors.Is(err, bus.ErrClosed) || !strings.Contains(err.Error(), "n0") {
		t.Errorf("attached twice: %v", err)
	}
	peer := bus.Peer{Name: "n1", Boot: 2}
	first, far := bustest.Pipe()
	served := make(chan error, 1)
	go func() { served <- attachment.ServeLink(context.Background(), peer, first, nil) }()
	readRoutes(t, far)
	second, other := bustest.Pipe()
	if err := attachment.ServeLink(t.Context(), peer, second, nil); err == nil || !strings.Contains(err.Error(), peer.String()) {
		t.Errorf("a second link to a boot: %v", err)
	}
	if _, err := other.Read(make([]byte, 1)); err == nil {
		t.Error("its connection is open")
	}
	far.Close()
	if err := receive(t, served); err == nil || !strings.Contains(err.Error(), "n1") {
		t.Errorf("a link whose connection ended: %v", err)
	}
	if attachment.Probe(99); !attachment.Open() {
		t.Error("it is not open")
	}
	if err := eb.Close(); err != nil {
		t.Fatal(err)
	}
	if attachment.Open() {
		t.Error("it is open when closed")
	}
	third, _ := bustest.Pipe()
	if err := attachment.ServeLink(t.Context(), peer, third, nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("a link after Close: %v", err)
	}
}
