package ecs_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

func sample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What AWS documents of the metadata endpoint is understood.
func TestSamplesOfMetadata(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ addr, zone, mode, service, container string }{
		"v2-awsvpc":  {"10.0.2.106", "us-east-2b", "awsvpc", "", ""},
		"v3-awsvpc":  {"10.0.2.106", "us-east-2b", "awsvpc", "", "nginx-curl"},
		"v4-awsvpc":  {"10.0.2.61", "us-west-2d", "awsvpc", "MyService", "curl"},
		"v4-fargate": {"172.31.115.123", "us-east-1d", "awsvpc", "", "fargate-app"},
		"v4-bridge":  {"10.5.5.5:8001", "us-west-2a", "bridge", "query", "app"},
		"v4-host":    {"10.5.5.5", "us-west-2a", "host", "query", "app"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				kind := ".container.json"
				if strings.HasSuffix(r.URL.Path, "/task") || strings.HasSuffix(r.URL.Path, "/v2/metadata") {
					kind = ".task.json"
				}
				http.ServeFile(w, r, filepath.Join("testdata", "metadata", name+kind))
			}))
			t.Cleanup(server.Close)
			file := filepath.Join(t.TempDir(), "metadata.json") // which tells the host's address
			if err := os.WriteFile(file, []byte(`{"MetadataFileStatus":"READY","HostPrivateIPv4Address":"10.5.5.5"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg := addTask(t, newFake(t, ecstest.Config{}), web("10.0.0.1")).Config()
			cfg.MetadataURL = server.URL + map[string]string{"v2": "/v2/metadata", "v3": "/v3/id", "v4": "/v4/id"}[name[:2]]
			p, err := ecs.NewWithEnv(t.Context(), cfg, map[string]string{"ECS_CONTAINER_METADATA_FILE": file})
			if err != nil {
				t.Fatal(err)
			}
			self, task := selfOf(t, p), p.Task()
			if self.Addr != want.addr || self.Tags["zone"] != want.zone || !strings.HasSuffix(task.ARN, "/"+self.Name) ||
				task.NetworkMode != want.mode || task.Service != want.service || task.Container != want.container {
				t.Errorf("Self gave %+v and Task %+v, want %+v", self, task, want)
			}
		})
	}
}

// What AWS documents of DescribeTasks is understood, whatever the own network mode.
func TestSamplesOfTasks(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]struct {
		peers   []string
		skipped map[string]int
	}{
		"awsvpc":  {[]string{"10.0.1.16:7946", "10.0.1.184:7946", "10.0.1.219:7946", "10.0.1.41:7946"}, map[string]int{"it has no address yet": 1, "it is stopping": 1}},
		"bridge":  {[]string{"10.5.0.1:8001"}, map[string]int{"it cannot be reached": 2, "it has no address yet": 2, "it is stopping": 1}},
		"host":    {[]string{"10.5.0.1:7946", "10.5.0.2:7946"}, map[string]int{"it is stopping": 1}},
		"fargate": {[]string{"10.0.0.4:7946"}, nil},
	} {
		for _, own := range []string{"awsvpc", "bridge", "host"} {
			t.Run(file+" seen in mode "+own, func(t *testing.T) {
				t.Parallel()
				body := sample(t, "tasks/"+file+".json")
				p := newProvider(t, addTask(t, newFake(t, ecstest.Config{}), inMode(own, "10.0.0.1")), func(cfg *ecs.Config) {
					cfg.Services = []string{"others"}
					cfg.HostIP = hostOfInstance
					cfg.AWS.HTTPClient = script{http.StatusOK, map[string][]byte{"ListTasks": listOf(t, body), "DescribeTasks": body}}
				})
				got, skipped := lookOf(t, p), want.skipped
				slices.Sort(got.Peers)
				if file == "bridge" && own == "host" { // there a task that only starts may be one more of the own kind
					got.Peers = slices.DeleteFunc(got.Peers, func(addr string) bool { return addr == "10.5.0.2:7946" })
					skipped = map[string]int{"it cannot be reached": 2, "it has no address yet": 1, "it is stopping": 1}
				}
				if !slices.Equal(got.Peers, want.peers) || !equalCounts(got.Skipped, skipped) {
					t.Errorf("Look gave %q, %v; want %q, %v", got.Peers, got.Skipped, want.peers, skipped)
				}
			})
		}
	}
}

func hostOfInstance(_ context.Context, arn string) (netip.Addr, error) {
	number, ok := strings.CutPrefix(arn[strings.LastIndexByte(arn, '/')+1:], "instance")
	if !ok {
		return netip.Addr{}, errors.New("unknown instance " + arn)
	}
	return netip.ParseAddr("10.5.0." + number)
}

// listOf is an answer of ListTasks that has all the tasks described.
func listOf(t *testing.T, described []byte) []byte {
	t.Helper()
	var doc struct{ Tasks []struct{ TaskArn string } }
	if err := json.Unmarshal(described, &doc); err != nil {
		t.Fatal(err)
	}
	list := struct {
		TaskARNs []string `json:"taskArns"`
	}{}
	for _, task := range doc.Tasks {
		list.TaskARNs = append(list.TaskARNs, task.TaskArn)
	}
	body, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
