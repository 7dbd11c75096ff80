package ecs_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

func TestNotOnECSIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	for _, env := range []map[string]string{nil, {"AWS_EXECUTION_ENV": "AWS_Lambda_go1.x", "AWS_REGION": "eu-central-1"}} {
		start := time.Now()
		p, err := ecs.NewWithEnv(t.Context(), ecs.Config{}, env)
		if p != nil {
			t.Error("New gave a provider")
		}
		wantOnly(t, err, ecs.ErrNotOnECS)
		wantText(t, err, "ECS_CONTAINER_METADATA_URI_V4", "discovery.Static")
		if took := time.Since(start); took > time.Second {
			t.Errorf("New took %v", took)
		}
	}
}

func TestMetadataVersions(t *testing.T) {
	t.Parallel()
	for version, want := range map[int]ecs.Task{
		4: {LaunchType: "FARGATE", Container: "app"},
		3: {Container: "app"},
		2: {},
	} {
		fake := newFake(t, ecstest.Config{})
		cfg := web("127.0.0.1") // the caller's own address, by which version 2 finds the task
		cfg.MetadataVersion = version
		own := addTask(t, fake, cfg)
		addTask(t, fake, web("127.0.0.2"))
		p := newProvider(t, own, nil)
		want.ID, want.ARN, want.Cluster = own.ID(), own.ARN(), "arn:aws:ecs:eu-central-1:123456789012:cluster/prod"
		want.Family, want.Zone, want.NetworkMode = "web", "eu-central-1a", "awsvpc"
		if got := p.Task(); !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: Task gave\n%+v, want\n%+v", version, got, want)
		}
		if self := selfOf(t, p); self.Addr != "127.0.0.1" || self.Name != own.ID() {
			t.Errorf("version %d: Self gave %+v", version, self)
		}
		wantPeers(t, p, "127.0.0.2:7946")
	}
}

func TestMetadataIsTriedThreeTimes(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]ecstest.Fault{
		"status 500": {Action: ecstest.Metadata, Status: 500, Body: "not yet"},
		"status 404": {Action: ecstest.Metadata, Status: 404, Body: "not yet"},
		"no JSON":    {Action: ecstest.Metadata, Status: 200, Body: "<html>not yet"},
		"empty":      {Action: ecstest.Metadata, Status: 200, Body: ""},
		"wrong type": {Action: ecstest.Metadata, Status: 200, Body: `{"TaskARN":["not yet"]}`},
		"no ARN":     {Action: ecstest.Metadata, Status: 200, Body: `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, ecstest.Config{})
			own := addTask(t, fake, web("10.0.0.1"))
			fault.Times = 2
			fake.Inject(fault)
			newProvider(t, own, nil)
			wantCalls(t, fake, "Metadata=4") // three for the task, one for the container

			fault.Times = 0
			fake.Inject(fault)
			_, err := ecs.New(t.Context(), own.Config())
			wantOnly(t, err, ecs.ErrTemporary)
			wantText(t, err, own.Config().MetadataURL, "Config.MetadataURL", "failed 3 times")
			wantCalls(t, fake, "Metadata=7")
		})
	}
}

// The metadata are read once, each document from its own path and never with tags: for those the
// agent asks the API, by the role of the instance.
func TestMetadataAreReadOnce(t *testing.T) {
	t.Parallel()
	for version, want := range map[int]int{4: 2, 3: 2, 2: 1} {
		fake := newFake(t, ecstest.Config{})
		cfg := web("127.0.0.1")
		cfg.MetadataVersion = version
		var paths []string
		cfg.EditMetadata = func(path string, _ map[string]any) { paths = append(paths, path) }
		p := newProvider(t, addTask(t, fake, cfg), nil)
		for range 3 {
			selfOf(t, p)
			wantPeers(t, p)
		}
		if len(paths) != want || fake.Calls(ecstest.Metadata) != want {
			t.Errorf("version %d: asked for %q, want %d documents", version, paths, want)
		}
		for _, path := range paths {
			if strings.Contains(path, "WithTags") || strings.Contains(path, "stats") {
				t.Errorf("version %d: asked for %s", version, path)
			}
		}
	}
}

func TestHangingMetadata(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	fake.Inject(ecstest.Hang(ecstest.Metadata))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := ecs.New(ctx, own.Config()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("New: error is %v, want the context's", err)
	}
	fake.ClearFaults()
	fake.Inject(ecstest.Fault{Action: ecstest.Metadata, Hang: true, Times: 1})
	newProvider(t, own, nil) // the second try is answered
}

func TestHugeMetadata(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		line := []byte(strings.Repeat(" ", 1<<16))
		for {
			if _, err := w.Write(line); err != nil {
				return // the client has had enough
			}
		}
	}))
	t.Cleanup(server.Close)
	_, err := ecs.New(t.Context(), ecs.Config{MetadataURL: server.URL})
	wantOnly(t, err, ecs.ErrTemporary)
	wantText(t, err, "larger than")
}

func TestOwnAddressOfAwsvpc(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		networks []any
		want     string   // "" for ErrNoAddress
		says     []string // its text
	}{
		"first usable":   {[]any{network("awsvpc", "169.254.172.2", "", "10.0.0.9", "10.0.0.8")}, "10.0.0.9", nil},
		"second network": {[]any{network("awsvpc", "169.254.172.2"), network("awsvpc", "10.0.0.9")}, "10.0.0.9", nil},
		"link-local":     {[]any{network("awsvpc", "169.254.172.2")}, "", []string{"169.254.172.2", "tell the node the address"}},
		"unspecified":    {[]any{network("awsvpc", "0.0.0.0")}, "", []string{"0.0.0.0"}},
		"no network":     {[]any{}, "", []string{`network mode of task arn:`, "use awsvpc, host or bridge"}},
		"no mode":        {[]any{network("", "10.0.0.9")}, "", []string{`is ""`}},
		"mode none":      {[]any{network("none")}, "", []string{`is "none"`}},
		"nonsense":       {[]any{network("awsvpc", "10.0.0", "::gg")}, "", []string{"10.0.0", "::gg"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, ecstest.Config{})
			cfg := web("10.0.0.1")
			cfg.EditMetadata = func(_ string, doc map[string]any) { editNetworks(doc, tt.networks) }
			p := newProvider(t, addTask(t, fake, cfg), nil)
			self, err := p.Self(t.Context())
			if tt.want == "" {
				wantOnly(t, err, ecs.ErrNoAddress)
				wantText(t, err, tt.says...)
			} else if err != nil || self.Addr != tt.want {
				t.Errorf("Self gave %+v, %v; want address %q", self, err, tt.want)
			}
		})
	}
}

func TestNetworkOfTheOwnContainerIsPreferred(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	cfg := web("10.0.0.1")
	cfg.EditMetadata = func(path string, doc map[string]any) {
		if strings.HasSuffix(path, "/task") {
			editNetworks(doc, []any{network("awsvpc", "10.0.0.5")})
		}
	}
	if self := selfOf(t, newProvider(t, addTask(t, fake, cfg), nil)); self.Addr != "10.0.0.1" {
		t.Errorf("Self.Addr is %q", self.Addr)
	}
}

func network(mode string, ips ...string) any {
	return map[string]any{"NetworkMode": mode, "IPv4Addresses": ips}
}

func editNetworks(doc map[string]any, networks []any) {
	if _, ok := doc["Networks"]; ok {
		doc["Networks"] = networks
	}
	containers, _ := doc["Containers"].([]any)
	for _, c := range containers {
		c.(map[string]any)["Networks"] = networks
	}
}

// A metadata endpoint that is not on loopback, as every real one, must not make a task advertise or dial loopback.
func TestLoopbackIsRefusedOffLoopback(t *testing.T) {
	t.Parallel()
	var host net.IP
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			host = n.IP
		}
	}
	if host == nil {
		t.Skip("this machine has no address but loopback")
	}
	fake := newFake(t, ecstest.Config{Listen: net.JoinHostPort(host.String(), "0")})
	own := addTask(t, fake, web("127.0.0.2"))
	addTask(t, fake, web("127.0.0.3"))
	p := newProvider(t, own, nil)
	_, err = p.Self(t.Context())
	wantOnly(t, err, ecs.ErrNoAddress)
	wantText(t, err, "127.0.0.2")
	wantPeers(t, p)
}

// Version 2 is there in awsvpc mode only, so that its error says what to look for.
func TestVersion2InBridgeMode(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	cfg := bridge("127.0.0.1", static(7946))
	cfg.MetadataVersion = 2
	_, err := ecs.New(t.Context(), addTask(t, fake, cfg).Config())
	if !errors.Is(err, ecs.ErrTemporary) {
		t.Errorf("error is %v, want ErrTemporary", err)
	}
	wantText(t, err, "/v2/metadata", "ECS_CONTAINER_METADATA_URI_V4", "in network mode awsvpc only", "400")
}
