package frame

import "testing"

// allocs checks that a run of f allocates nothing.
func allocs(t *testing.T, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(1000, f); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Writing a frame allocates nothing, with headers or without; nor does reading
// one without.
func TestFrameAllocs(t *testing.T) {
	buf := make([]byte, 0, 1<<10)
	h := Head{FKind: 2, FRoute: 300, FID: 1 << 30, FTimeLeft: 30000, FCodec: 1}
	header, body := Header{"k": {"v1", "v2"}, "trace": {"x"}}, make([]byte, 128)
	rest := AppendCodecName(AppendSkipped(nil, []byte{1, 2}), "order")
	var f Frame
	t.Run("append", func(t *testing.T) {
		allocs(t, func() { buf = append(Append(buf[:0], Msg, &h, nil, nil, len(body)), body...) })
	})
	t.Run("append headers", func(t *testing.T) {
		allocs(t, func() { buf = append(Append(buf[:0], Msg, &h, header, rest, len(body)), body...) })
	})
	for name, rest := range map[string][]byte{"parse": nil, "parse skipped": AppendSkipped(nil, []byte{1, 2}), "parse codec": AppendCodecName(nil, "order")} {
		t.Run(name, func(t *testing.T) {
			b := append(Append(nil, Msg, &h, nil, rest, len(body)), body...)
			allocs(t, func() {
				_, begin, end, err := Next(b)
				if err != nil || f.Parse(b[begin:end]) != nil {
					t.Error(err)
				}
			})
		})
	}
}

func benchFrame() (h Head, body []byte) {
	return Head{FKind: 1, FRoute: 300, FTimeLeft: 30000, FCodec: 1}, make([]byte, 128)
}

func BenchmarkEncode(b *testing.B) {
	h, body := benchFrame()
	buf := make([]byte, 0, 1<<10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		buf = append(Append(buf[:0], Msg, &h, nil, nil, len(body)), body...)
	}
}

func BenchmarkDecode(b *testing.B) {
	h, body := benchFrame()
	buf := append(Append(nil, Msg, &h, nil, nil, len(body)), body...)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	var f Frame
	for b.Loop() {
		_, begin, end, err := Next(buf)
		if err != nil || f.Parse(buf[begin:end]) != nil {
			b.Fatal(err)
		}
	}
}
