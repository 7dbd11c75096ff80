package rehearsal

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"testing"
)

func TestFieldsReadsWhatSlogWrites(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})).Warn("not sent", "verticle", "PointVerticle", "n", 7, "err", errors.New(`no "x" = y`), "empty", "")
	want := map[string]string{
		"level": "WARN", "msg": "not sent", "verticle": "PointVerticle", "n": "7", "err": `no "x" = y`, "empty": "",
	}
	if got := fields(b.String()); !maps.Equal(got, want) {
		t.Errorf("fields(%q) = %v", b.String(), got)
	}
}

func TestFieldsOfOtherLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]map[string]string{
		"":                       {},
		"panic: out of cheese":   {},
		"a=1 goroutine 7":        {"a": "1"},
		`msg="never closed n=1`:  {"msg": `"never`, "closed n": "1"},
		"goroutine 1 [running]:": {},
	} {
		if got := fields(line); !maps.Equal(got, want) {
			t.Errorf("fields(%q) = %v, want %v", line, got, want)
		}
	}
}
