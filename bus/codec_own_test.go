package bus_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// celsius is sent, and kelvin received.
type celsius float64

type kelvin struct{ Milli int64 }

var errTooCold = errors.New("below absolute zero")

func temperatures() bus.Option {
	return bus.WithCodec("temperature",
		func(c celsius) ([]byte, error) {
			if c < -273.15 {
				return nil, errTooCold
			}
			return binary.BigEndian.AppendUint64(nil, uint64(int64(math.Round(1000*(float64(c)+273.15))))), nil
		},
		func(b []byte) (kelvin, error) {
			if len(b) != 8 {
				return kelvin{}, fmt.Errorf("%d bytes", len(b))
			}
			return kelvin{int64(binary.BigEndian.Uint64(b))}, nil
		})
}

// blob is sent and received as itself, and is as large as one likes.
type blob struct{ data []byte }

func blobs() bus.Option {
	return bus.WithCodec("blob",
		func(b *blob) ([]byte, error) { return b.data, nil },
		func(b []byte) (*blob, error) { return &blob{b}, nil })
}

// withCodecs is both with buses that have codecs; the numbers of the second bus
// are others than those of the first.
func withCodecs(t *testing.T, test func(t *testing.T, p pair)) {
	t.Run("alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			eb := bus.New(quiet, temperatures(), blobs())
			t.Cleanup(func() { eb.Close() })
			test(t, pair{eb, eb, false})
		})
	})
	t.Run("clustered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := bus.New(quiet, temperatures(), blobs()), bus.New(quiet, blobs(), temperatures())
			narrow(t, 256<<10, a, b)
			test(t, pair{a, b, true})
		})
	})
}

// A type may be received as another than was sent, by every verb, in replies and
// in questions, within the node and over a link.
func TestCodecWhoseSentTypeIsNotTheReceived(t *testing.T) {
	withCodecs(t, func(t *testing.T, p pair) {
		got := make(chan kelvin, 1)
		consume(t, p.to, "t", func(ctx context.Context, m *bus.Message) error {
			var k kelvin
			if err := m.Decode(&k); err != nil {
				return err
			}
			if !m.WantsReply() {
				got <- k
				return nil
			}
			a, err := m.Request(ctx, celsius(k.Milli/1000))
			if err != nil {
				return err
			}
			if err := a.Decode(&k); err != nil {
				return err
			}
			return a.Reply(ctx, celsius(-float64(k.Milli)/1000))
		})
		for verb, call := range map[string]func() error{
			"Send":    func() error { return p.from.Send(t.Context(), "t", celsius(0)) },
			"Publish": func() error { return p.from.Publish(t.Context(), "t", celsius(0)) },
		} {
			if err := call(); err != nil {
				t.Errorf("%s: %v", verb, err)
			} else if k := receive(t, got); k.Milli != 273150 {
				t.Errorf("%s: %v", verb, k)
			}
		}
		q, err := p.from.Request(t.Context(), "t", celsius(0))
		if err != nil {
			t.Fatal(err)
		}
		var k kelvin
		if err := q.Decode(&k); err != nil || k.Milli != 546150 { // of 273 °C
			t.Errorf("the question is %v, %v", k, err)
		}
		last, err := q.Request(t.Context(), celsius(-273))
		if err != nil {
			t.Fatal(err)
		}
		if err := last.Decode(&k); err != nil || k.Milli != 273000 {
			t.Errorf("the reply is %v, %v", k, err)
		}
	})
}

// Gossip has codecs too.
func TestCodecOverGossip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bustest.NewCluster(t, 2, quiet, temperatures())
		got := make(chan kelvin, 2)
		for i := range 2 {
			consume(t, c.Bus(i), "t", bus.Receive(func(_ context.Context, k kelvin) error { got <- k; return nil }).Handle)
		}
		if err := c.Bus(0).Publish(t.Context(), "t", celsius(1), bus.Gossip()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if k := receive(t, got); k.Milli != 274150 {
				t.Errorf("got %v", k)
			}
		}
	})
}

// The same type on both sides, as a pointer, small and large, by the generic
// functions; what encode returned may be reused.
func TestCodecOfOneType(t *testing.T) {
	withCodecs(t, func(t *testing.T, p pair) {
		consume(t, p.to, "echo", bus.Respond(func(_ context.Context, b *blob) (*blob, error) { return b, nil }).Handle)
		for _, size := range []int{0, 1, 100, 1000, 64 << 10, 300 << 10} {
			sent := &blob{noise(size, 1)}
			want := bytes.Clone(sent.data)
			got, err := bus.Request[*blob](t.Context(), p.from, "echo", sent)
			clear(sent.data)
			if err != nil || !bytes.Equal(got.data, want) {
				t.Errorf("%d bytes: %v, %v", size, got, err)
			}
		}
	})
}

// What a codec has encoded goes elsewhere with its name when a consumer closes,
// small or large, from this node's consumers and from others'.
func TestCodecOfWhatIsSentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bus.New(quiet, temperatures(), blobs()), bus.New(quiet, blobs())
		narrow(t, 256<<10, a, b)
		block := make(chan struct{})
		var closing []*bus.Consumer
		for i := range 8 { // one for each request
			closing = append(closing, consume(t, []*bus.EventBus{a, b}[i%2], "echo", func(context.Context, *bus.Message) error { <-block; return nil }, bus.WithWindow(1<<10)))
		}
		for range closing { // leaves room for one more
			if err := a.Send(t.Context(), "echo", make([]byte, 800)); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for k := range 8 {
			wg.Go(func() {
				want := &blob{noise(100+k%4/2*(100<<10), uint64(k))}
				got, err := bus.Request[*blob](context.Background(), a, "echo", want)
				if err != nil || !bytes.Equal(got.data, want.data) {
					t.Errorf("request %d of %d bytes: %v", k, len(want.data), err)
				}
			})
			synctest.Wait()
		}
		consume(t, b, "echo", bus.Respond(func(_ context.Context, b *blob) (*blob, error) { return b, nil }).Handle)
		for _, c := range closing {
			c.Close()
		}
		wg.Wait()
		close(block)
		if s := a.Stats(); s.Bounced != 8 {
			t.Errorf("%d were sent back", s.Bounced)
		}
		atRest(t, a, b)
	})
}

// A node that does not have a codec handles no message of it: a request is
// answered at once, naming the codec and the node, others are counted, and credit
// comes back for all. The next codec's messages are handled.
func TestUnknownCodec(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "large": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var text bytes.Buffer
				a, b := bus.New(quiet, blobs()), bus.New(bus.WithLogger(slog.New(slog.NewTextHandler(&text, nil))), temperatures())
				narrow(t, 256<<10, a, b)
				var handled atomic.Int32
				h := func(context.Context, *bus.Message) error { handled.Add(1); return nil }
				for range 2 { // a publish fans out
					consume(t, b, "x", h)
				}
				begin := time.Now()
				_, err := a.Request(t.Context(), "x", &blob{make([]byte, size)})
				var no *bus.ReplyError
				if !errors.As(err, &no) || no.Code != bus.CodeBody || !strings.Contains(no.Message, `"blob"`) || !strings.Contains(no.Message, "b does not have") {
					t.Errorf("request: %v", err)
				}
				if err := a.Send(t.Context(), "x", &blob{make([]byte, size)}); err != nil {
					t.Error(err)
				}
				if err := a.Publish(t.Context(), "x", &blob{make([]byte, size)}); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if took := time.Since(begin); took > 0 {
					t.Errorf("it took %v", took)
				}
				if _, err := a.Request(t.Context(), "x", "JSON"); err != nil || handled.Load() != 1 {
					t.Errorf("%d handled, %v", handled.Load(), err)
				}
				atRest(t, a, b)
				if s := b.Stats(); s.Undecodable != 4 || s.Handled != 1 {
					t.Errorf("%d undecodable, %d handled", s.Undecodable, s.Handled)
				}
				if s := text.String(); strings.Count(s, "codec that is not registered") != 1 || !strings.Contains(s, `blob`) {
					t.Errorf("the log says %s", s)
				}
			})
		})
	}
}

// A reply, or a question, of a codec that the requester's node does not have ends
// the request with an error; the question is answered at once.
func TestUnknownCodecOfAReply(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "large": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := bus.New(quiet), bus.New(quiet, blobs())
				narrow(t, 256<<10, a, b)
				asked := make(chan error, 1)
				consume(t, b, "x", func(ctx context.Context, m *bus.Message) error {
					if len(m.Body) == 0 {
						return m.Reply(ctx, &blob{make([]byte, size)})
					}
					_, err := m.Request(ctx, &blob{make([]byte, size)})
					asked <- err
					return nil
				})
				for _, body := range []any{nil, []byte("ask")} {
					_, err := a.Request(t.Context(), "x", body)
					var no *bus.ReplyError
					if err == nil || errors.As(err, &no) || !strings.Contains(err.Error(), `codec "blob"`) || !strings.Contains(err.Error(), "reply from b") {
						t.Errorf("after %v: %v", body, err)
					}
				}
				var no *bus.ReplyError
				if err := receive(t, asked); !errors.As(err, &no) || no.Code != bus.CodeBody || !strings.Contains(no.Message, `"blob"`) {
					t.Errorf("the asker got %v", err)
				}
			})
		})
	}
}

// Gossip of a codec that a node does not have is counted there, and not handled.
func TestUnknownCodecOfGossip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t)
		mustNotHandle(t, p.eb, "news")
		p.attachment.ReceiveGossip(marshalGossip(t, &wire.Gossip{Boot: 2, Seq: 1, Sent: 1 << 60, Address: "news", Codec: 3, CodecName: "blob"}))
		synctest.Wait()
		if s := p.eb.Stats(); s.Undecodable != 1 || s.Gossip.Received != 1 {
			t.Errorf("%+v", s)
		}
		p.Reset()
	})
}

// mustNotHandle registers a consumer, which linked nodes need not know yet.
func mustNotHandle(t *testing.T, eb *bus.EventBus, address string) {
	t.Helper()
	if _, err := eb.Consume(address, bus.HandlerFunc(func(context.Context, *bus.Message) error { t.Error("handled"); return nil })); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// Numbers of codecs that are not known are not taken for those that a node has.
func TestUnknownCodecNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := playPeer(t, blobs())
		mustNotHandle(t, p.eb, "in")
		p.say(routesFrame(1, true, nil), ackFrame(1))
		for _, codec := range []uint32{3, 4, 5, 255, 256, 1 << 31} {
			p.say(msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 1000, Codec: codec}))
		}
		if s := p.eb.Stats(); s.Undecodable != 6 {
			t.Errorf("%d undecodable", s.Undecodable)
		}
		p.Reset()
	})
}

// A codec's messages decode into its type, an any, and nothing else; its errors
// are those of the call.
func TestCodecErrors(t *testing.T) {
	withCodecs(t, func(t *testing.T, p pair) {
		consume(t, p.to, "t", func(ctx context.Context, m *bus.Message) error {
			return m.Reply(ctx, celsius(0))
		})
		if err := p.from.Send(t.Context(), "t", celsius(-300)); !errors.Is(err, errTooCold) || !strings.Contains(err.Error(), `"temperature"`) {
			t.Errorf("encoding: %v", err)
		}
		m, err := p.from.Request(t.Context(), "t", nil)
		if err != nil {
			t.Fatal(err)
		}
		var c celsius
		var raw []byte
		var anything any
		for _, into := range []any{&c, &raw, nil, kelvin{}, new(wrapperspb.StringValue)} {
			if err := m.Decode(into); err == nil || !strings.Contains(err.Error(), `"temperature"`) {
				t.Errorf("decoded into %T: %v", into, err)
			}
		}
		if err := m.Decode(&anything); err != nil || anything != (kelvin{273150}) {
			t.Errorf("decoded into %v, %v", anything, err)
		}
		if k, err := bus.Request[any](t.Context(), p.from, "t", nil); err != nil || k != (kelvin{273150}) {
			t.Errorf("generic request: %v, %v", k, err)
		}
		// exactly the type: what contains it, or a pointer to it, is JSON
		consume(t, p.to, "json", func(ctx context.Context, m *bus.Message) error { return m.Reply(ctx, m.Body) })
		one := celsius(1)
		for _, body := range []any{&one, []celsius{1}} {
			if m, err := p.from.Request(t.Context(), "json", body); err != nil || !strings.Contains(string(m.Body), "1") || len(m.Body) > 3 {
				t.Errorf("%T: %v, %v", body, m, err)
			}
		}
	})
}

// What decode refuses is the receiver's error: CodeBody, where a handler has a type.
func TestCodecThatCannotDecode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := func(n int) bus.Option {
			return bus.WithCodec("broken", func(celsius) ([]byte, error) { return make([]byte, n), nil },
				func(b []byte) (kelvin, error) { return kelvin{}, errTooCold })
		}
		c := bustest.NewCluster(t, 2, quiet, broken(3))
		consume(t, c.Bus(1), "t", bus.Receive(func(context.Context, kelvin) error { t.Error("handled"); return nil }).Handle)
		_, err := c.Bus(0).Request(t.Context(), "t", celsius(1))
		var no *bus.ReplyError
		if !errors.As(err, &no) || no.Code != bus.CodeBody || !strings.Contains(no.Message, errTooCold.Error()) {
			t.Errorf("%v", err)
		}
	})
}

// A codec for a type that has an encoding already comes before it.
func TestCodecOfAProtobufMessage(t *testing.T) {
	eb := bus.New(quiet, bus.WithCodec("loud",
		func(s *wrapperspb.StringValue) ([]byte, error) { return []byte(strings.ToUpper(s.Value)), nil },
		func(b []byte) (*wrapperspb.StringValue, error) { return wrapperspb.String(string(b)), nil }))
	defer eb.Close()
	consume(t, eb, "t", bus.Respond(func(_ context.Context, s *wrapperspb.StringValue) (*wrapperspb.StringValue, error) { return s, nil }).Handle)
	s, err := bus.Request[*wrapperspb.StringValue](t.Context(), eb, "t", wrapperspb.String("hi"))
	if err != nil || s.GetValue() != "HI" {
		t.Errorf("%v, %v", s, err)
	}
}

// Codecs that cannot be told apart, or cannot be, are found where the bus is made.
func TestCodecsThatCannotBe(t *testing.T) {
	t.Parallel()
	enc, dec := func(celsius) ([]byte, error) { return nil, nil }, func([]byte) (int, error) { return 0, nil }
	for name, c := range map[string]struct {
		make func() *bus.EventBus
		says string
	}{
		"name twice": {func() *bus.EventBus {
			return bus.New(temperatures(), bus.WithCodec("temperature", func(int) ([]byte, error) { return nil, nil }, dec))
		}, "of that name"},
		"type twice": {func() *bus.EventBus { return bus.New(temperatures(), bus.WithCodec("other", enc, dec)) }, `bus_test.celsius already, "temperature"`},
		"no name":    {func() *bus.EventBus { return bus.New(bus.WithCodec("", enc, dec)) }, "1 to 64 bytes"},
		"long name":  {func() *bus.EventBus { return bus.New(bus.WithCodec(strings.Repeat("n", 65), enc, dec)) }, "1 to 64 bytes"},
		"not UTF-8":  {func() *bus.EventBus { return bus.New(bus.WithCodec("\xff", enc, dec)) }, "1 to 64 bytes"},
		"no encode":  {func() *bus.EventBus { return bus.New(bus.WithCodec[celsius]("x", nil, dec)) }, "nil"},
		"no decode":  {func() *bus.EventBus { return bus.New(bus.WithCodec[celsius, int]("x", enc, nil)) }, "nil"},
		"bytes": {func() *bus.EventBus {
			return bus.New(bus.WithCodec("x", func([]byte) ([]byte, error) { return nil, nil }, dec))
		},
			"[]uint8"},
		"interface": {func() *bus.EventBus {
			return bus.New(bus.WithCodec("x", func(error) ([]byte, error) { return nil, nil }, dec))
		},
			"error"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), c.says) || !strings.Contains(fmt.Sprint(p), "WithCodec") {
					t.Errorf("it panicked with %v", p)
				}
			}()
			c.make()
		})
	}
	bus.New(temperatures(), blobs(), bus.WithCodec(strings.Repeat("n", 64), func(int) ([]byte, error) { return nil, nil }, dec)).Close()
}

// A codec's name counts in the gossip lane's limit.
func TestCodecNameCountsInGossip(t *testing.T) {
	t.Parallel()
	eb := bus.New(quiet, blobs())
	defer eb.Close()
	for size, ok := range map[int]bool{1024 - 4 - 4: true, 1024 - 4 - 3: false} {
		if err := eb.Publish(t.Context(), "news", &blob{make([]byte, size)}, bus.Gossip()); (err == nil) != ok || !ok && !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
