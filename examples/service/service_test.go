package main

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/cluster"
)

// instance is a process of the service, but for the process.
type instance struct {
	t     *testing.T
	web   string // where its HTTP is
	stop  context.CancelFunc
	ended chan error
}

func start(t *testing.T, bind string) *instance {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	i := &instance{t, freeAddr(t), stop, make(chan error, 1)}
	go func() { i.ended <- run(ctx, bind, i.web) }()
	t.Cleanup(func() { stop(); <-i.ended })
	return i
}

// end stops it as SIGTERM does.
func (i *instance) end() {
	i.t.Helper()
	i.stop()
	err := <-i.ended
	i.ended <- err
	if err != nil {
		i.t.Errorf("it ended with %v", err)
	}
}

// get asks the service.
func (i *instance) get(path string) (code int, body string) {
	resp, err := http.Get("http://" + i.web + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Error(err)
	}
	return resp.StatusCode, string(b)
}

// await asks until the answer is 200 and has the text.
func (i *instance) await(path, text string) {
	i.t.Helper()
	var code int
	var body string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if code, body = i.get(path); code == http.StatusOK && strings.Contains(body, text) {
			return
		}
		select {
		case err := <-i.ended:
			i.ended <- err
			i.t.Fatalf("it ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	i.t.Fatalf("%s answers %d, %s; want %q", path, code, body, text)
}

func TestService(t *testing.T) {
	a, b := freeAddr(t), freeAddr(t)
	t.Setenv("RUNRIG_SECRET", rand.Text()+rand.Text())
	t.Setenv("SERVICE_PEERS", a+","+b)
	first, second := start(t, a), start(t, b)
	for _, i := range []*instance{first, second} {
		i.await("/readyz", "")
		i.await("/livez", "")
		i.await("/stats", `"state":"ready"`)
		i.await("/stats", `"links":1`)
		i.await("/greet/ada", "hello, ada, from "+a) // they take turns
		i.await("/greet/ada", "hello, ada, from "+b)
	}
	second.end()
	first.await("/stats", `"state":"alone"`)
	first.await("/readyz", "") // it serves all the same
	first.await("/greet/ada", "from "+a)
	if code, body := second.get("/greet/ada"); code != 0 {
		t.Errorf("what has ended answers %d, %s", code, body)
	}
	first.end()
}

func TestNoSecretNoService(t *testing.T) {
	t.Setenv("RUNRIG_SECRET", "")
	if err := run(t.Context(), freeAddr(t), freeAddr(t)); err == nil || !strings.Contains(err.Error(), "RUNRIG_SECRET") {
		t.Error("without a secret it ends with", err)
	}
}

// What deploys the service agrees with it, and gives it the time that it may need to
// leave: see verticle.Run, bus.EventBus.Close and cluster.Node.Close.
func TestManifests(t *testing.T) {
	t.Parallel()
	const leave = 10 + 20 + 3 // s
	source := read(t, "main.go")
	for name, grace := range map[string]string{
		"kubernetes.yaml": `terminationGracePeriodSeconds: (\d+)`,
		"compose.yaml":    `stop_grace_period: (\d+)s`,
		"service.service": `TimeoutStopSec=(\d+)`,
	} {
		text := read(t, name)
		m := regexp.MustCompile(grace).FindStringSubmatch(text)
		if m == nil {
			t.Errorf("%s has no time to leave", name)
			continue
		}
		if s, _ := strconv.Atoi(m[1]); s < leave {
			t.Errorf("%s gives %d s to leave, of %d", name, s, leave)
		}
		if !strings.Contains(text, strconv.Itoa(cluster.DefaultPort)) {
			t.Errorf("%s does not name port %d", name, cluster.DefaultPort)
		}
		for _, variable := range regexp.MustCompile(`\b(RUNRIG|SERVICE)_[A-Z_]+`).FindAllString(text, -1) {
			if !strings.Contains(source, variable) {
				t.Errorf("%s sets %s, which the service does not read", name, variable)
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
