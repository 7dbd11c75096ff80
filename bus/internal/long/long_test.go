package long_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus/internal/long"
)

func TestLongOnly(t *testing.T) { long.Only(t, "it takes nothing") }

// By itself a test binary runs the short form, and says what it leaves out.
func TestForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags []string
		long  bool
	}{{nil, false}, {[]string{"-long"}, true}, {[]string{"-test.short=false"}, true}, {[]string{"-test.short"}, false}, {[]string{"-long=false"}, false}} {
		out, err := exec.CommandContext(t.Context(), os.Args[0], append(c.flags, "-test.v", "-test.run=^TestLongOnly$")...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", c.flags, err, out)
		}
		if ran := strings.Contains(string(out), "--- PASS: TestLongOnly"); ran != c.long {
			t.Errorf("%q: it ran: %v", c.flags, ran)
		}
		if says := strings.Contains(string(out), "it takes nothing: with -long"); says == c.long {
			t.Errorf("%q: it says\n%s", c.flags, out)
		}
	}
}
