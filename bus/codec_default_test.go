package bus_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/clustertest"
)

func toGob(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func fromGob(b []byte, v any) error { return gob.NewDecoder(bytes.NewReader(b)).Decode(v) }

type spot struct{ X, Y int }

// The default codec is that of values, pointers, slices and maps, and not of bytes, of
// JSON as it is, of protobuf messages, and of types that have a codec of their own.
func TestDefaultCodec(t *testing.T) {
	all := func(int) []bus.Option {
		return []bus.Option{bus.WithDefaultCodec("gob", toGob, fromGob), temperatures()}
	}
	clustertest.Run(t, 2, func(t *testing.T, c *clustertest.Cluster) {
		from, to := c.Node(0).Bus, c.Node(1).Bus
		bodies := make(chan []byte, 1)
		consume(t, to, "back", func(ctx context.Context, m *bus.Message) error {
			bodies <- m.Body
			return m.Reply(ctx, m.Body)
		})
		for _, c := range []struct {
			body any
			gob  bool
		}{
			{spot{1, 2}, true}, {&spot{1, 2}, true}, {[]spot{{1, 2}}, true}, {map[string]int{"a": 1}, true}, {"text", true},
			{[]byte("raw"), false}, {json.RawMessage(`{"X":1}`), false}, {wrapperspb.String("p"), false}, {celsius(1), false},
		} {
			if _, err := from.Request(t.Context(), "back", c.body); err != nil {
				t.Errorf("%T: %v", c.body, err)
			}
			encoded, err := toGob(c.body)
			if got := <-bodies; err == nil && bytes.Equal(got, encoded) != c.gob {
				t.Errorf("%T goes as %q", c.body, got)
			}
		}
		if _, err := to.Consume("move", bus.Respond(func(_ context.Context, p *spot) ([]spot, error) { return []spot{*p, {p.Y, p.X}}, nil })); err != nil {
			t.Fatal(err)
		}
		if got, err := bus.Request[[]spot](t.Context(), from, "move", json.RawMessage(`{"X":1,"Y":2}`), bus.Await()); err != nil || !reflect.DeepEqual(got, []spot{{1, 2}, {2, 1}}) {
			t.Errorf("JSON as it is: %v, %v", got, err)
		}
		if got, err := bus.Request[[]spot](t.Context(), from, "move", &spot{1, 2}, bus.Await()); err != nil || !reflect.DeepEqual(got, []spot{{1, 2}, {2, 1}}) {
			t.Errorf("%v, %v", got, err)
		}
	}, clustertest.WithBus(all))
}

// A codec is rolled out in two steps, and no call fails: the nodes of the first step
// decode it, and are understood by those of the second.
func TestCodecRollout(t *testing.T) {
	for name, options := range map[string][2]bus.Option{
		"default": {bus.WithDefaultCodec("gob", nil, fromGob), bus.WithDefaultCodec("gob", toGob, fromGob)},
		"a type's": {
			bus.WithDecoder("spot", func(b []byte) (p spot, err error) { return p, fromGob(b, &p) }),
			bus.WithCodec("spot", func(p spot) ([]byte, error) { return toGob(p) }, func(b []byte) (p spot, err error) { return p, fromGob(b, &p) }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			clustertest.Run(t, 2, func(t *testing.T, c *clustertest.Cluster) {
				for i := range 2 {
					consume(t, c.Node(i).Bus, fmt.Sprint(i), bus.Respond(func(_ context.Context, p spot) (spot, error) { return spot{p.Y, p.X}, nil }).Handle)
				}
				for _, from := range []int{0, 1} {
					got, err := bus.Request[spot](t.Context(), c.Node(from).Bus, fmt.Sprint(1-from), spot{1, 2}, bus.Await())
					if err != nil || got != (spot{2, 1}) {
						t.Errorf("from %d: %v, %v", from, got, err)
					}
				}
			}, clustertest.WithBus(func(i int) []bus.Option { return []bus.Option{options[i]} }))
		})
	}
}

func TestDefaultCodecsThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func()
		says string
	}{
		"two":       {func() { bus.New(bus.WithDefaultCodec("a", toGob, fromGob), bus.WithDefaultCodec("b", toGob, fromGob)) }, `one already, "a"`},
		"one name":  {func() { bus.New(temperatures(), bus.WithDefaultCodec("temperature", toGob, fromGob)) }, "of that name"},
		"no decode": {func() { bus.New(bus.WithDefaultCodec("a", toGob, nil)) }, "nil"},
		"no name":   {func() { bus.New(bus.WithDecoder("", func([]byte) (int, error) { return 0, nil })) }, "1 to 64 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), c.says) {
					t.Errorf("it panicked with %v", p)
				}
			}()
			c.make()
		})
	}
}
