package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

type outOfStock struct {
	SKU  string
	Left int
}

// ownDetail is encoded by a codec of its own: see ownDetails.
type ownDetail struct{ n byte }

var ownDetails = bus.WithCodec("own",
	func(d ownDetail) ([]byte, error) {
		if d.n == 0 {
			return nil, errors.New("nothing to encode")
		}
		return []byte{d.n}, nil
	}, func(b []byte) (ownDetail, error) { return ownDetail{b[0]}, nil })

// Details of an error come along as a body does, by any codec, with the words around the
// error, and through another handler.
func TestDetailsOfAnError(t *testing.T) {
	t.Parallel()
	all := map[string]any{
		"JSON": outOfStock{"a-1", 2}, "bytes": []byte("raw"), "protobuf": durationpb.New(42), "own codec": ownDetail{7}, "none": nil,
	}
	for _, to := range []int{0, 1} {
		c := bustest.NewCluster(t, 2, quiet, ownDetails)
		consume(t, c.Bus(to), "a", func(_ context.Context, m *bus.Message) error {
			return fmt.Errorf("order 17: %w", &bus.ReplyError{Code: 409, Message: "sold out", Details: all[string(m.Body)]})
		})
		consume(t, c.Bus(1-to), "through", func(ctx context.Context, m *bus.Message) error {
			_, err := c.Bus(1-to).Request(ctx, "a", m.Body)
			var no *bus.ReplyError
			if errors.As(err, &no) {
				return no
			}
			return err
		})
		for _, address := range []string{"a", "through"} {
			for what, details := range all {
				_, err := c.Bus(0).Request(t.Context(), address, []byte(what))
				var no *bus.ReplyError
				node := fmt.Sprint("n", to)
				if address == "through" {
					node = fmt.Sprint("n", 1-to)
				}
				if !errors.As(err, &no) || no.Code != 409 || no.Message != "order 17: sold out" || no.Address != address || no.Node != node || no.Details != nil {
					t.Fatalf("%s of %s: %#v, %v", what, address, no, err)
				}
				if got, err := detailsOf(no, details); err != nil || fmt.Sprint(got) != fmt.Sprint(details) {
					t.Errorf("%s of %s: %v, %v", what, address, got, err)
				}
			}
		}
	}
}

// detailsOf decodes details into a value of the type of want.
func detailsOf(e *bus.ReplyError, want any) (any, error) {
	switch want.(type) {
	case outOfStock:
		return decodeDetails[outOfStock](e)
	case []byte:
		return decodeDetails[[]byte](e)
	case ownDetail:
		return decodeDetails[ownDetail](e)
	case *durationpb.Duration:
		d := new(durationpb.Duration)
		_, err := e.Decode(d)
		return d, err
	}
	has, err := e.Decode(nil)
	if has {
		err = errors.New("there are details")
	}
	return nil, err
}

func decodeDetails[T any](e *bus.ReplyError) (v T, err error) {
	has, err := e.Decode(&v)
	if !has {
		err = errors.New("no details")
	}
	return v, err
}

// Details that cannot go along do not keep the error back: Fail refuses them, and of what
// a handler returns they are left out.
func TestDetailsThatCannotGoAlong(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		bad := map[string]any{"large": make([]byte, 16<<10+1), "not JSON": func() {}, "nil protobuf": (*durationpb.Duration)(nil)}
		wants := map[string]string{"large": "too large", "not JSON": "cannot be encoded", "nil protobuf": "nil"}
		consume(t, p.to, "a", func(_ context.Context, m *bus.Message) error {
			what, byFail := strings.CutPrefix(string(m.Body), "fail ")
			e := &bus.ReplyError{Code: 5, Message: "no", Details: bad[what]}
			if !byFail {
				return e
			}
			err := m.Fail(e)
			if text := fmt.Sprint(err); err == nil || !strings.Contains(text, wants[what]) || !strings.Contains(text, `"a"`) || !m.WantsReply() {
				t.Errorf("%s: %v", what, err)
			}
			if what == "large" && !errors.Is(err, bus.ErrTooLarge) {
				t.Errorf("%s: %v", what, err)
			}
			e.Details = "fits"
			return m.Fail(e)
		})
		for what := range bad {
			for _, how := range []string{"", "fail "} {
				_, err := p.from.Request(t.Context(), "a", []byte(how+what))
				var no *bus.ReplyError
				if !errors.As(err, &no) || no.Code != 5 || no.Message != "no" {
					t.Fatalf("%s: %v", what, err)
				}
				var text string
				if has, err := no.Decode(&text); err != nil || has != (how != "") || has != (text == "fits") {
					t.Errorf("%s%s: %q, %v", how, what, text, err)
				}
			}
		}
	})
}

// Details of a codec that the requester's node lacks, or of another type, are an error of
// Decode alone.
func TestDetailsThatCannotBeDecoded(t *testing.T) {
	synctest.Test(t, testDetailsThatCannotBeDecoded)
}

func testDetailsThatCannotBeDecoded(t *testing.T) {
	a, b := bus.New(quiet), bus.New(quiet, ownDetails)
	narrow(t, 256<<10, a, b)
	consume(t, b, "a", func(_ context.Context, m *bus.Message) error {
		if string(m.Body) == "own" {
			return &bus.ReplyError{Code: 5, Message: "no", Details: ownDetail{7}}
		}
		return &bus.ReplyError{Code: 5, Message: "no", Details: "text"}
	})
	consume(t, a, "through", func(ctx context.Context, m *bus.Message) error {
		_, err := a.Request(ctx, "a", m.Body)
		return err
	})
	for what, want := range map[string]string{"own": "does not have (WithCodec)", "text": "does not fit"} {
		for _, address := range []string{"a", "through"} {
			_, err := a.Request(t.Context(), address, []byte(what))
			var no *bus.ReplyError
			if !errors.As(err, &no) || no.Code != 5 || !strings.HasSuffix(no.Message, "no") {
				t.Fatalf("%s: %v", what, err)
			}
			var v int
			has, err := no.Decode(&v)
			if what == "own" && address == "through" {
				if has || err != nil {
					t.Errorf("details that could not go on: %v", err)
				}
			} else if !has || !strings.Contains(fmt.Sprint(err), want) || !strings.Contains(fmt.Sprint(err), address) {
				t.Errorf("%s: %v, %v", what, has, err)
			}
		}
	}
}

// An error of the bus at another handler is not the handler's own, also where that returns it
// without a word: the text says which way it came.
func TestErrorOfTheBusPassedOn(t *testing.T) {
	both(t, func(t *testing.T, p pair) {
		consume(t, p.to, "panics", func(context.Context, *bus.Message) error { panic("boom") })
		consume(t, p.to, "a", func(ctx context.Context, m *bus.Message) error {
			_, err := p.to.Request(ctx, "panics", nil)
			var no *bus.ReplyError
			if !errors.As(err, &no) {
				t.Error(err)
			}
			return no
		})
		_, err := p.from.Request(t.Context(), "a", nil)
		var no *bus.ReplyError
		if !errors.As(err, &no) || no.Code != bus.CodeFailed || !strings.Contains(no.Message, `request to "panics"`) {
			t.Errorf("%v", err)
		}
	})
}
