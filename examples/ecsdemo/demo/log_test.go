package demo

import (
	"bytes"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestLogQuery tries the query's pattern on a line as the program writes it.
func TestLogQuery(t *testing.T) {
	t.Parallel()
	var line bytes.Buffer
	logReceived(slog.New(slog.NewTextHandler(&line, nil)), "PointVerticle", "10.0.1.7", greeting{IP: "10.0.1.8", N: 3}, "link")
	for _, file := range []string{"service.cfn.yaml", "ECS.md"} {
		text, err := os.ReadFile("../" + file)
		m := regexp.MustCompile(`parse @message "(.*)" as verticle, local, received, via, n`).FindStringSubmatch(string(text))
		if err != nil || m == nil {
			t.Errorf("%s has no query: %v", file, err)
			continue
		}
		pattern := strings.ReplaceAll(regexp.QuoteMeta(m[1]), `\*`, `(.*)`) // CloudWatch's wildcard
		got := regexp.MustCompile(pattern + "$").FindStringSubmatch(strings.TrimSpace(line.String()))
		if want := []string{"PointVerticle", "10.0.1.7", "10.0.1.8", "link", "3"}; got == nil || !slices.Equal(got[1:], want) {
			t.Errorf("the query of %s finds %q in %q", file, got, line.String())
		}
	}
}
