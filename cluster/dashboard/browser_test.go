package dashboard_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster/internal/long"
)

// browser runs a scenario of testdata/browser.mjs, in which do is done when it is asked
// for, and returns the figures that it tells. What the scenario finds wrong fails the
// test.
func browser(t *testing.T, scenario, url string, given any, do map[string]func()) map[string]float64 {
	t.Helper()
	dir, chromium := browserOrSkip(t)
	extra, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "testdata/browser.mjs", scenario, url, string(extra))
	cmd.Env = append(os.Environ(), "RUNRIG_BROWSER="+dir, "RUNRIG_CHROMIUM="+chromium)
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	for _, err := range []error{err1, err2, cmd.Start()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	figures := map[string]float64{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		follow(t, lines.Text(), in, do, figures)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return figures
}

func follow(t *testing.T, line string, in io.Writer, do map[string]func(), figures map[string]float64) {
	t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "do":
		do[rest]()
		_, _ = io.WriteString(in, "done\n") // where it is gone, Wait tells
	case "figure:":
		name, value, _ := strings.Cut(rest, " ")
		figures[name], _ = strconv.ParseFloat(value, 64)
		t.Log(line)
	case "wrong:":
		t.Error(rest)
	default:
		t.Log(line)
	}
}

// browserOrSkip finds what drives a browser, and the browser.
func browserOrSkip(t *testing.T) (dir, chromium string) {
	t.Helper()
	long.Only(t, "it needs a browser")
	dir = os.Getenv("RUNRIG_BROWSER")
	if dir == "" {
		t.Skip("RUNRIG_BROWSER is not set: .ci/run dashboard has npm put playwright-core and axe-core there")
	}
	if _, err := os.Stat(dir + "/node_modules/playwright-core"); err != nil {
		t.Skip("playwright-core is not in RUNRIG_BROWSER: ", err)
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium: ", err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("there is no node: ", err)
	}
	return dir, chromium
}

// A shop is a cluster of three processes, of which the first serves the page.
type shop struct {
	t       *testing.T
	first   child
	server  *process
	others  []*process
	rate    int
	started int
}

func openShop(t *testing.T, first child) *shop {
	t.Helper()
	browserOrSkip(t)
	first.Serve = freeAddr(t)
	s := &shop{t: t, first: first, rate: first.Rate}
	s.server = spawn(t, first)
	for range 2 {
		s.add()
	}
	return s
}

// add starts one more node.
func (s *shop) add() {
	s.started++
	s.others = append(s.others, spawn(s.t, child{
		Names: []string{"orders-" + strconv.Itoa(s.started)}, Peers: s.peers(), Addresses: s.first.Addresses, Rate: s.rate,
		Tags: map[string]string{"zone": "eu-1" + string(rune('a'+s.started))},
	}))
}

// peers are the addresses of all that runs.
func (s *shop) peers() (all []string) {
	for _, p := range append([]*process{s.server}, s.others...) {
		if p != nil && !p.dead {
			all = append(all, p.addrs[0])
		}
	}
	return all
}

func (s *shop) url() string { return "http://" + s.first.Serve + "/debug/runrig/" }

// restart starts the node that serves the page again.
func (s *shop) restart() {
	first := s.first
	first.Peers = s.peers()
	s.server = spawn(s.t, first)
}

// TestBrowser: every panel, in a real browser over real processes, without a finding of
// axe-core, a violation of the policy, a word on the console, or more than fits.
func TestBrowser(t *testing.T) {
	s := openShop(t, child{Names: []string{"web-1"}, Addresses: 8, Rate: 60, Try: true})
	browser(t, "panels", s.url(), nil, nil)
	browser(t, "trying", s.url(), map[string]any{"pictures": *pictures}, nil)
}

// TestHostileNames: whatever an address or a verticle is called is shown as text.
func TestHostileNames(t *testing.T) {
	escaped := map[string]string{
		"<img src=x onerror=alert(1)>":       "<img src=x onerror=alert(1)>",
		`"><script>alert(2)</script>`:        `"><script>alert(2)</script>`,
		"{{7*7}}${7*7}":                      "{{7*7}}${7*7}",
		"مرحبا.orders":                       "مرحبا.orders",
		"pay\u202egnp.exe":                   `pay\u202egnp.exe`,
		"\x1b[31mred\x1b[0m":                 `\x1b[31mred\x1b[0m`,
		"long." + strings.Repeat("x", 250):   "long." + strings.Repeat("x", 250),
		"line\nbreak":                        `line\x0abreak`,
		"javascript:alert(3)//__proto__":     "javascript:alert(3)//__proto__",
		"constructor":                        "constructor",
		" spaces  at both ends and \u200b0 ": ` spaces  at both ends and \u200b0 `,
	}
	var hostile, shown []string
	for name, text := range escaped {
		hostile, shown = append(hostile, name), append(shown, text)
	}
	s := openShop(t, child{Names: []string{"web-1"}, Hostile: hostile, Try: true})
	browser(t, "hostile", s.url(), map[string]any{"names": shown}, nil)
}

// TestKillSeen: a process that is killed is red within 5 s, and the cluster well when
// another has come for it. When the page's own server is killed its last state stays,
// dimmed, and it comes back by itself.
func TestKillSeen(t *testing.T) {
	s := openShop(t, child{Names: []string{"web-1"}, Addresses: 8, Rate: 60})
	began := time.Now()
	given := map[string]any{"pictures": *pictures}
	if *pictures != "" {
		given["film"] = *pictures + "/kill"
	}
	figures := browser(t, "kill", s.url(), given, map[string]func(){
		"kill":         s.others[1].kill,
		"replace":      s.add,
		"kill server":  func() { s.server.kill() },
		"start server": s.restart,
	})
	if *pictures != "" && !t.Failed() {
		animate(t, *pictures+"/kill", *pictures+"/dashboard-kill.gif")
	}
	t.Logf("red after %v ms; %v in all", figures["red_ms"], time.Since(began))
}

// TestPictures leaves pictures of what people see: of three nodes, and of a
// failure. Those of the README are "dashboard" and "dashboard-dark".
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("-pictures names no folder")
	}
	s := openShop(t, child{Names: []string{"web-1"}, Addresses: 8, Rate: 80, Try: true})
	size := func(width, height int, scheme string, more map[string]any) map[string]any {
		o := map[string]any{"width": width, "height": height, "scheme": scheme}
		maps.Copy(o, more)
		return o
	}
	opened, long := map[string]any{"open": true}, map[string]any{"wait": 20000, "motion": "no-preference"}
	of := [][]any{
		{"dashboard", "overview", size(1280, 910, "light", long)}, {"dashboard-dark", "overview", size(1280, 910, "dark", long)},
		{"narrow", "overview", size(360, 1500, "light", nil)}, {"wall", "overview", size(2560, 1440, "dark", nil)},
	}
	for _, panel := range []string{"addresses", "links", "verticles", "events", "nodes", "try"} {
		of = append(of, []any{panel, panel, size(1280, 900, "light", opened)}, []any{panel + "-narrow", panel, size(360, 1200, "dark", opened)})
	}
	browser(t, "pictures", s.url(), map[string]any{"to": *pictures, "of": of}, nil)
}

// TestManyPictured leaves pictures of many nodes, in one process.
func TestManyPictured(t *testing.T) {
	if *pictures == "" {
		t.Skip("-pictures names no folder")
	}
	browserOrSkip(t)
	c := child{Addresses: 20, Rate: 2, Serve: freeAddr(t)}
	for i := range 36 {
		c.Names = append(c.Names, fmt.Sprintf("node-%02d", i+1))
	}
	spawn(t, c)
	at := func(width, height int, scheme string) map[string]any {
		return map[string]any{"width": width, "height": height, "scheme": scheme, "wait": 4000}
	}
	browser(t, "pictures", "http://"+c.Serve+"/debug/runrig/", map[string]any{"to": *pictures, "of": [][]any{
		{"many", "overview", at(1280, 1000, "light")}, {"many-dark", "overview", at(1920, 1080, "dark")}, {"many-narrow", "overview", at(360, 900, "light")},
		{"many-addresses", "addresses", at(1280, 900, "light")}, {"many-nodes", "nodes", at(1280, 900, "light")}, {"many-links", "links", at(1280, 900, "light")},
	}}, nil)
}
