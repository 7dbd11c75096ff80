package ecs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
	"github.com/runrig-go/runrig/discovery/internal/long"
)

const arnOf = "arn:aws:ecs:eu-central-1:123456789012:task/prod/"

// onEC2 is a task whose metadata tell its service, so that the API need not be asked for it.
func onEC2(address string) ecstest.TaskConfig {
	cfg := web(address)
	cfg.LaunchType = "EC2"
	return cfg
}

// script is an HTTP client that gives the same answer to each call of an action.
type script struct {
	status int
	body   map[string][]byte // by action
}

func (s script) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return &http.Response{
		StatusCode: s.status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
		Body: io.NopCloser(bytes.NewReader(s.body[action])), Request: r,
	}, nil
}

// FuzzAnswers gives whatever the API may answer to a task of another service than the one looked
// for. Nothing panics or waits; what comes back is usable; and that nobody is there is said only
// when a list says so that is a list, whole, and whose tasks are all accounted for.
func FuzzAnswers(f *testing.F) {
	one := `{"taskArns":["` + arnOf + `1"]}`
	for _, seed := range [][3]string{
		{`{"taskArns":[]}`, ``, ``},
		{`{"taskArns":[null,""]}`, ``, ``},
		{`{"taskArns":null}`, ``, ``},
		{`{"taskArns":["x"],"nextToken":5}`, `{}`, ``},
		{one, `{"tasks":[{"taskArn":"` + arnOf + `1","lastStatus":"RUNNING","attachments":[{"type":"ElasticNetworkInterface","details":[{"name":"privateIPv4Address","value":"10.0.0.2"}]}]}]}`, ``},
		{one, `{"tasks":[{"taskArn":"` + arnOf + `2","lastStatus":"RUNNING"}],"failures":[{}]}`, ``},
		{one, `{"tasks":[],"failures":[{"arn":"` + arnOf + `1","reason":"MISSING"}]}`, ``},
		{one, `{"tasks":[{"taskArn":"` + arnOf + `1","containerInstanceArn":"i","containers":[{"networkBindings":[{"containerPort":7946,"hostPort":7946,"protocol":"tcp"},{"containerPort":7946,"hostPort":7946,"protocol":"udp"}]}]}]}`,
			`{"containerInstances":[{"containerInstanceArn":"i","attributes":[{"name":"private-ip","value":"10.0.0.2"}]}]}`},
		{`{"__type":"ThrottlingException"}`, ``, ``},
		{strings.Repeat("[", 20000), ``, ``},
	} {
		f.Add(200, []byte(seed[0]), []byte(seed[1]), []byte(seed[2]))
	}
	f.Add(400, []byte(`{"__type":["x"]}`), []byte(nil), []byte(nil))
	f.Add(500, []byte(`null`), []byte(nil), []byte(nil))
	fake, err := ecstest.New(ecstest.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = fake.Close() })
	own, err := fake.AddTask(onEC2("10.0.0.1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, list, tasks, instances []byte) {
		if status < 200 || status > 599 {
			return
		}
		p := newProvider(t, own, func(cfg *ecs.Config) {
			cfg.Services, cfg.AWS.RetryMaxAttempts = []string{"others"}, 1
			cfg.AWS.HTTPClient = script{status, map[string][]byte{"ListTasks": list, "DescribeTasks": tasks, "DescribeContainerInstances": instances}}
		})
		p.SetSleep(func(context.Context, time.Duration) error { return nil })
		start := time.Now()
		r, err := p.Look(t.Context())
		if took := time.Since(start); took > 12*time.Second {
			t.Errorf("it took %v", took)
		}
		if err != nil {
			if len(r.Peers) > 0 {
				t.Errorf("Look gave %q beside %v", r.Peers, err)
			}
			return
		}
		if _, err := discovery.Static(r.Peers...).Peers(t.Context()); err != nil {
			t.Errorf("Look gave %q: %v", r.Peers, err)
		}
		var said struct{ TaskARNs []string }
		if jerr := json.Unmarshal(list, &said); jerr != nil || said.TaskARNs == nil || status > 299 {
			t.Fatalf("Look took %.200q with status %d for a list", list, status)
		}
		ids := map[string]bool{}
		for _, arn := range said.TaskARNs {
			if id := arn[strings.LastIndexByte(arn, '/')+1:]; id != own.ID() {
				ids[id] = true
			}
		}
		skipped := 0
		for _, n := range r.Skipped {
			skipped += n
		}
		if r.Listed != len(ids) || len(r.Peers) == 0 && skipped != r.Listed || len(r.Peers)+skipped > r.Listed {
			t.Errorf("of %d tasks Look gave %+v", len(ids), r)
		}
	})
}

// Answers that no list of tasks can be made of are "could not ask", also where an empty list would
// be right: for a task that looks for another service.
func TestBadListsOfOthers(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, onEC2("10.0.0.1"))
	many := `"` + arnOf + `1"` + strings.Repeat(`,"`+arnOf+`1"`, 10_000)
	for name, body := range map[string]string{
		"empty text":         `{"taskArns":[""]}`,
		"no ARN":             `{"taskArns":["1"]}`,
		"ARN of something":   `{"taskArns":["arn:aws:ecs:eu-central-1:123456789012:service/prod/web"]}`,
		"numbers":            `{"taskArns":[1,2]}`,
		"list is null":       `{"taskArns":null}`,
		"other capitals":     `{"TaskArns":[]}`,
		"cut short":          `{"taskArns":["` + arnOf + `1"`,
		"array":              `[]`,
		"text":               `"ok"`,
		"nested deeply":      strings.Repeat(`{"taskArns":[`, 50_000),
		"more than can be":   `{"taskArns":[` + many + `]}`,
		"token of bad type":  `{"taskArns":[],"nextToken":{}}`,
		"an error, as 200":   `{"__type":"ThrottlingException","message":"Rate exceeded"}`,
		"nothing but spaces": strings.Repeat(" ", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, own, func(cfg *ecs.Config) {
				cfg.Services = []string{"others"}
				cfg.AWS.HTTPClient = script{200, map[string][]byte{"ListTasks": []byte(body)}}
			})
			peers, err := p.Peers(t.Context())
			if peers != nil {
				t.Errorf("Peers gave %q", peers)
			}
			wantOnly(t, err, ecs.ErrTemporary)
			wantText(t, err, "ecs:ListTasks")
		})
	}
	p := newProvider(t, own, func(cfg *ecs.Config) {
		cfg.Services = []string{"others"}
		cfg.AWS.HTTPClient = script{200, map[string][]byte{"ListTasks": []byte(`{"taskArns":[]}`)}}
	})
	wantPeers(t, p) // what is right
}

// A description of tasks that nobody asked for is ignored: their addresses are not in the list.
func TestUnaskedDescriptions(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, onEC2("10.0.0.1"))
	described := func(id, ip string) string {
		return `{"taskArn":"` + arnOf + id + `","lastStatus":"RUNNING","attachments":[{"type":"ElasticNetworkInterface","details":[{"name":"privateIPv4Address","value":"` + ip + `"}]}]}`
	}
	for name, tt := range map[string]struct {
		tasks string
		want  string // "" for ErrTemporary
	}{
		"beside":  {`[` + described("1", "10.0.0.2") + `,` + described("9", "10.9.9.9") + `]`, "10.0.0.2:7946"},
		"instead": {`[` + described("9", "10.9.9.9") + `]`, ""},
		"twice":   {`[` + described("1", "10.0.0.3") + `,` + described("1", "10.0.0.2") + `]`, "10.0.0.2:7946"},
	} {
		p := newProvider(t, own, func(cfg *ecs.Config) {
			cfg.Services = []string{"others"}
			cfg.AWS.HTTPClient = script{200, map[string][]byte{
				"ListTasks": []byte(`{"taskArns":["` + arnOf + `1"]}`), "DescribeTasks": []byte(`{"tasks":` + tt.tasks + `}`),
			}}
		})
		peers, err := p.Peers(t.Context())
		if tt.want == "" {
			wantOnly(t, err, ecs.ErrTemporary)
		} else if err != nil || len(peers) != 1 || peers[0] != tt.want {
			t.Errorf("%s: Peers gave %q, %v; want %q", name, peers, err, tt.want)
		}
	}
}

// Container instances of which an answer says nothing are asked about again, and not taken for
// some without an address.
func TestStrangeInstances(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, `{}`, `null`, `[]`, `{"containerInstances":{}}`, `{"containerInstances":[]}`} {
		fake := newFake(t, ecstest.Config{})
		own := addTask(t, fake, bridge("10.0.0.1", static(7946)))
		addTask(t, fake, bridge("10.0.0.2", static(7946)))
		p := newProvider(t, own, nil)
		fake.Inject(ecstest.Fault{Action: "DescribeContainerInstances", Status: 200, Body: body})
		_, err := p.Peers(t.Context())
		wantOnly(t, err, ecs.ErrTemporary)
		_, err = p.Self(t.Context())
		wantOnly(t, err, ecs.ErrTemporary)
		fake.ClearFaults()
		wantPeers(t, p, "10.0.0.2:7946")
	}
}

// drip is an answer of which one byte comes each second.
type drip struct{ ctx context.Context }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

type dripping struct{}

func (dripping) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(drip{r.Context()}), Request: r}, nil
}

func TestSlowAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = dripping{} })
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := p.Peers(t.Context())
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("Peers gave up after %v, want 10s", took)
		}
		wantOnly(t, err, ecs.ErrTemporary)
	})
}

// The same of the metadata: it is given up after three tries of 1.5 seconds.
func TestSlowMetadataIsGivenUp(t *testing.T) {
	t.Parallel()
	long.Only(t, "it waits five seconds")
	var tries atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries.Add(1)
		for {
			if _, err := w.Write([]byte(" ")); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	start := time.Now()
	_, err := ecs.New(t.Context(), ecs.Config{MetadataURL: server.URL})
	wantOnly(t, err, ecs.ErrTemporary)
	if took := time.Since(start); took < 4*time.Second || took > 15*time.Second || tries.Load() != 3 {
		t.Errorf("New took %v and tried %d times, want about 5 s and 3", took, tries.Load())
	}
}

// What the container's own document says may be anything: New and Self end with an answer or an
// error of this package.
func TestStrangeContainerMetadata(t *testing.T) {
	t.Parallel()
	task := `{"Cluster":"prod","TaskARN":"` + arnOf + `1","Family":"web"}`
	for name, tt := range map[string]struct {
		container string
		fresh     error // of New
		self      error
	}{
		"empty object":       {`{}`, nil, ecs.ErrNoAddress},
		"null":               {`null`, nil, ecs.ErrNoAddress},
		"empty":              {``, ecs.ErrTemporary, nil},
		"list":               {`[]`, ecs.ErrTemporary, nil},
		"networks no list":   {`{"Networks":{}}`, ecs.ErrTemporary, nil},
		"networks of null":   {`{"Networks":[null]}`, nil, ecs.ErrNoAddress},
		"addresses no texts": {`{"Networks":[{"NetworkMode":"awsvpc","IPv4Addresses":[1]}]}`, ecs.ErrTemporary, nil},
		"mode no text":       {`{"Networks":[{"NetworkMode":7}]}`, ecs.ErrTemporary, nil},
		"huge port":          {`{"Networks":[{"NetworkMode":"bridge"}],"Ports":[{"ContainerPort":99999999999999999999}]}`, ecs.ErrTemporary, nil},
		"port out of range":  {`{"Networks":[{"NetworkMode":"bridge"}],"Ports":[{"ContainerPort":7946,"HostPort":70000,"Protocol":"tcp"}]}`, nil, ecs.ErrHostPort},
		"unknown mode":       {`{"Networks":[{"NetworkMode":"quantum"}]}`, nil, ecs.ErrHostPort},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := tt.container
				if strings.HasSuffix(r.URL.Path, "/task") {
					body = task
				}
				_, _ = io.WriteString(w, body)
			}))
			t.Cleanup(server.Close)
			cfg := addTask(t, newFake(t, ecstest.Config{}), web("10.0.0.1")).Config()
			cfg.MetadataURL = server.URL
			p, err := ecs.New(t.Context(), cfg)
			if tt.fresh != nil {
				wantOnly(t, err, tt.fresh)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Self(t.Context()); !errors.Is(err, tt.self) {
				t.Errorf("Self: error is %v, want %v", err, tt.self)
			}
		})
	}
}
