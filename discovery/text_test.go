package discovery_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/discoverytest"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peers")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFileThatIsNotThereConforms(t *testing.T) {
	t.Parallel()
	discoverytest.RunDown(t, func(t *testing.T) discovery.Provider { return discovery.File(filepath.Join(t.TempDir(), "peers")) })
}

func TestFileConforms(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"one a line": {"10.0.0.7:7946\n[fd00::7]:7946\n", []string{"10.0.0.7:7946", "[fd00::7]:7946"}},
		"of all sorts": {
			"# nodes\r\n\r\na:1, b:2\tc:3 # the old ones\r\na:1\r\n#d:4\r\ne:5", []string{"a:1", "b:2", "c:3", "e:5"},
		},
		"empty": {"# none as yet\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			discoverytest.Run(t, func(t *testing.T) discovery.Provider { return discovery.File(write(t, tt.text)) }, tt.want)
		})
	}
}

func TestFileIsReadEachTime(t *testing.T) {
	t.Parallel()
	path := write(t, "a:1")
	p := discovery.File(path)
	for _, next := range []string{"b:1", "c:1"} {
		if _, err := p.Peers(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(write(t, next), path); err != nil {
			t.Fatal(err)
		}
		if got, err := p.Peers(t.Context()); err != nil || !slices.Equal(got, []string{next}) {
			t.Fatalf("Peers() = %q, %v; want %q", got, err, next)
		}
	}
}

func TestFileErrorsNameTheFile(t *testing.T) {
	t.Parallel()
	for text, path := range map[string]string{
		"no such file":                      filepath.Join(t.TempDir(), "absent"),
		"not a regular file":                t.TempDir(),
		"larger than 1048576 bytes":         write(t, strings.Repeat("#", 1<<20)+"\n"),
		`entry "10.0.0.7" is not "host:por`: write(t, "a:1\n10.0.0.7\nb:1\n"),
		`port "99999" is not a number`:      write(t, "a:99999"),
	} {
		got, err := discovery.File(path).Peers(t.Context())
		if err == nil || got != nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), path) {
			t.Errorf("File gave %q, %v; want an error with %q and %q", got, err, text, path)
		}
	}
}

func TestEnvConforms(t *testing.T) {
	t.Setenv("DISCOVERY_TEST_PEERS", "10.0.0.7:7946,node-b:7946  10.0.0.7:7946,")
	discoverytest.Run(t, func(*testing.T) discovery.Provider { return discovery.Env("DISCOVERY_TEST_PEERS") },
		[]string{"10.0.0.7:7946", "node-b:7946"})
	t.Setenv("DISCOVERY_TEST_NOBODY", "")
	discoverytest.Run(t, func(*testing.T) discovery.Provider { return discovery.Env("DISCOVERY_TEST_NOBODY") }, nil)
}

func TestEnvErrorsNameTheVariable(t *testing.T) {
	t.Setenv("DISCOVERY_TEST_BAD", "a:1;b:1")
	for name, says := range map[string]string{
		"DISCOVERY_TEST_BAD":    `entry "a:1;b:1"`,
		"DISCOVERY_TEST_ABSENT": "is not set",
	} {
		got, err := discovery.Env(name).Peers(t.Context())
		if err == nil || got != nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), name) {
			t.Errorf("Env gave %q, %v; want an error with %q and %q", got, err, says, name)
		}
	}
}

// Whatever a file holds: an error without a list, or only addresses that Static would take.
func FuzzFile(f *testing.F) {
	for _, text := range []string{"", "a:1\nb:2", "#", ",,,", "a:1 # b", "\x00", "a:1\r\n"} {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "peers")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := discovery.File(path).Peers(t.Context())
		if err != nil && got != nil {
			t.Fatalf("File gave %q beside %v", got, err)
		}
		if again, err := discovery.Static(got...).Peers(t.Context()); err != nil || !slices.Equal(again, got) {
			t.Fatalf("File gave %q of %q, Static makes of it %q, %v", got, text, again, err)
		}
	})
}
