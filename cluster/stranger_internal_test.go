package cluster

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/cluster/internal/wire"
)

// warned returns the lines at WARN or above of a port that closes connections with
// these errors.
func warned(t *testing.T, errs ...error) int {
	t.Helper()
	var b bytes.Buffer
	p := &port{counts: new(counters), ctx: t.Context(), log: slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	for _, err := range errs {
		p.stranger(&script{}, err)
	}
	return strings.Count(b.String(), "\n")
}

// Only what said something wrong is told, not what ended, was silent or slow.
func TestStrangersThatAreTold(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct {
		err  error
		told int
	}{
		"nothing":            {fmt.Errorf("%w: %w", errSilent, io.EOF), 0},
		"ended":              {fmt.Errorf("hello: %w", io.EOF), 0},
		"ended in a hello":   {fmt.Errorf("hello: %w", io.ErrUnexpectedEOF), 0},
		"reset":              {&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, 0},
		"slow":               {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, 0},
		"a moment's crowd":   {errCrowded, 0},
		"a wrong first byte": {wire.ErrFormat, 1},
		"a wrong hello":      {fmt.Errorf("%w: %w", wire.ErrFormat, io.ErrUnexpectedEOF), 1},
		"too many peers":     {errSurplus, 1},
	} {
		if got := warned(t, c.err); got != c.told {
			t.Errorf("%s: %d lines, want %d", text, got, c.told)
		}
	}
}

// A crowd is told when it lasts longer than those who came at once may take.
func TestCrowdIsToldWhenItLasts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c crowd
		for i := range 100 {
			if got, want := c.note(), time.Duration(i)*100*time.Millisecond >= crowdedFor; got != want {
				t.Fatalf("after %d00 ms: %v, want %v", i, got, want)
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(crowdedFor)
		if c.note() {
			t.Error("told of a new crowd at once")
		}
	})
}

// That packets do not pass is told once a minute, and not for a few that are lost.
func TestPacketlessIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		ending := new(atomic.Bool)
		counts := new(counters)
		l := newLogBridge(slog.New(slog.NewTextHandler(&out, nil)), counts, ending, func() {})
		lines := func(n int) int {
			for i := range n {
				l.Printf("[WARN] memberlist: Was able to connect to %s over TCP but UDP probes failed, network may be misconfigured", string(rune('a'+i%20)))
			}
			defer out.Reset()
			return strings.Count(out.String(), "\n")
		}
		if n := lines(packetlessTold - 1); n != 0 {
			t.Errorf("%d lines for %d probes", n, packetlessTold-1)
		}
		time.Sleep(packetlessFor)
		for range 3 {
			if n := lines(100); n != 1 {
				t.Errorf("%d lines in a minute, want 1", n)
			}
			time.Sleep(packetlessFor)
		}
		ending.Store(true)
		if n := lines(100); n != 0 {
			t.Errorf("%d lines while the node closes", n)
		}
		if got := counts.load().Packetless; got != 400+packetlessTold-1 {
			t.Errorf("counted %d", got)
		}
	})
}
