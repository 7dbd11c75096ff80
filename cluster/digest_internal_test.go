package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// News of a few are told line by line, those of many in a line more each spell; nothing is
// kept back when the node closes.
func TestDigest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := newDigest(slog.New(slog.NewTextHandler(&out, nil)))
		lines := func(n int, wait bool) int {
			for i := range n {
				d.tell(slog.LevelInfo, "member joined", bus.Peer{Name: fmt.Sprint("n", i), Boot: uint64(i + 1)})
				d.tell(slog.LevelWarn, "member failed", bus.Peer{Name: fmt.Sprint("n", i), Boot: uint64(i + 1)})
			}
			if wait {
				time.Sleep(digestSpell)
				synctest.Wait()
			}
			defer out.Reset()
			return strings.Count(out.String(), "\n")
		}
		if got, want := lines(digestSingly, true), 2*digestSingly; got != want {
			t.Errorf("%d lines, want %d", got, want)
		}
		if got, want := lines(1000, true), 2*(digestSingly+1); got != want {
			t.Errorf("%d lines, want %d", got, want)
		}
		if got, want := lines(1000, true), 2; got != want {
			t.Errorf("%d lines of a spell after one with as much news, want %d", got, want)
		}
		if got, want := lines(0, true), 0; got != want {
			t.Errorf("%d lines of a spell without news, want %d", got, want)
		}
		if got, want := lines(1000, false), 2*digestSingly; got != want {
			t.Errorf("%d lines before the end of the spell, want %d", got, want)
		}
		d.close()
		for _, want := range []string{"level=WARN", "level=INFO", "more=995", "n5-", "n12-"} {
			if text := out.String(); !strings.Contains(text, want) || strings.Count(text, "\n") != 2 || len(text) > 2000 {
				t.Errorf("no %q in what was kept, or too much: %s", want, text)
			}
		}
	})
}
