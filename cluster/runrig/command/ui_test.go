package command

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// fetch returns what a page answers, up to the first n bytes.
func fetch(t *testing.T, ctx context.Context, url string, n int64) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, n))
	return resp.StatusCode, string(body)
}

// TestUI: the page is served on this host, shows the cluster by way of a node, by way of
// a member of it when that one goes, and ends with the command.
func TestUI(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, errs, code := begin(ctx, map[string]string{"RUNRIG_SECRET": secret}, "ui", "-node", a.Self().Addr, "-listen", "127.0.0.1:0")
	line := regexp.MustCompile(`^(http://127\.0\.0\.1:\d+/) `)
	await(t, "it says where", func() bool { return line.MatchString(out.String()) })
	url := line.FindStringSubmatch(out.String())[1]
	if status, page := fetch(t, ctx, url, 1<<20); status != http.StatusOK || !strings.Contains(page, "<title>runrig") {
		t.Errorf("the page: status %d", status)
	}
	if _, text := fetch(t, ctx, url+"setup", 1<<20); !strings.Contains(text, `"try":false`) {
		t.Errorf("setup: %s", text)
	}
	if status, stream := fetch(t, ctx, url+"stream", 1500); status != http.StatusOK || !strings.Contains(stream, `"asker":"a"`) {
		t.Errorf("the stream: status %d, %s", status, stream)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "b tells", func() bool {
		_, stream := fetch(t, ctx, url+"stream", 1500)
		return strings.Contains(stream, `"asker":"b"`)
	})
	_ = b
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("code %d, %s", c, errs)
	}
	for _, args := range [][]string{{"ui", "-listen", "0.0.0.0:0"}, {"ui", "-listen", "10.0.0.7:80"}, {"ui", "-listen", "example.com:80"}, {"ui", "-listen", "no"}} {
		if r := with(t, b, args...); r.code != exitUsage || !strings.Contains(r.err, "-listen") {
			t.Errorf("%v: code %d, %s", args, r.code, r.err)
		}
	}
}
