package ecs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// childEnv marks a process as a child of these tests.
const childEnv = "ECS_TEST_CHILD"

// A process that has nothing but the environment of a task finds its place and its peers, whatever
// its parent's environment says.
func TestEnvironmentIsEnough(t *testing.T) {
	t.Parallel()
	ec2 := web("127.0.0.1")
	ec2.LaunchType = "EC2" // where ECS sets no region
	v3 := web("127.0.0.1")
	v3.MetadataVersion = 3
	for name, tt := range map[string]struct {
		own  ecstest.TaskConfig
		self string
		peer string
	}{
		"fargate":   {web("127.0.0.1"), "127.0.0.1", "127.0.0.2:7946"},
		"ec2":       {ec2, "127.0.0.1", "127.0.0.2:7946"},
		"version 3": {v3, "127.0.0.1", "127.0.0.2:7946"},
		"bridge":    {bridge("127.0.0.1", static(8001)), "127.0.0.1:8001", "127.0.0.1:8002"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, ecstest.Config{Region: "ap-south-2"})
			own := addTask(t, fake, tt.own)
			other := web("127.0.0.2")
			if tt.own.NetworkMode == "bridge" {
				other = bridge("127.0.0.1", static(8002))
			}
			addTask(t, fake, other)

			out := runChild(t, own.Env()...)
			if want := fmt.Sprintf("found: %s %s [%s]\n", own.ID(), tt.self, tt.peer); !strings.Contains(out, want) {
				t.Errorf("the child should say %q:\n%s", want, out)
			}
		})
	}
}

// The SDK's own search for credentials, with what a task without or with a role has.
func TestCredentialsOfTheEnvironment(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("127.0.0.1"))
	var status atomic.Int32
	role := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(role.Close)
	fullURI := "AWS_CONTAINER_CREDENTIALS_FULL_URI=" + role.URL
	for _, tt := range []struct {
		name, setting, want string
		status              int32
	}{
		{"no role", "", ecs.ErrNoCredentials.Error(), 0},
		{"role refused", fullURI, ecs.ErrNoCredentials.Error(), http.StatusForbidden},
		{"role's endpoint fails", fullURI, ecs.ErrTemporary.Error(), http.StatusServiceUnavailable},
	} {
		status.Store(max(tt.status, http.StatusOK))
		env := append(own.Env(), "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=")
		out := runChild(t, append(env, tt.setting)...)
		if !strings.Contains(out, "failed: "+tt.want) {
			t.Errorf("%s: the child should say %q:\n%s", tt.name, tt.want, out)
		}
	}
	wantCalls(t, fake, "ListTasks=0")
}

// runChild runs TestChild in a process with that environment, and returns what it printed.
func runChild(t *testing.T, env ...string) string {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "-test.v")
	child.Env = append(misleading(), env...)
	out, err := child.CombinedOutput()
	if err != nil {
		t.Errorf("the child ended with %v:\n%s", err, out)
	}
	return string(out)
}

// misleading is an environment of which anything that is heeded leads away from the fake.
func misleading() []string {
	const nowhere = "http://127.0.0.1:1/"
	return append(os.Environ(), childEnv+"=1",
		"AWS_PROFILE=absent", "AWS_REGION=mars-north-1", "AWS_DEFAULT_REGION=mars-north-1", "AWS_SESSION_TOKEN=x",
		"AWS_ACCESS_KEY_ID=real", "AWS_SECRET_ACCESS_KEY=real", "AWS_ENDPOINT_URL="+nowhere, "AWS_ENDPOINT_URL_ECS="+nowhere,
		"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true", "AWS_CONFIG_FILE=/absent", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI="+nowhere, "AWS_WEB_IDENTITY_TOKEN_FILE=/absent", "AWS_ROLE_ARN=arn:aws:iam::1:role/x",
		"ECS_CONTAINER_METADATA_URI_V4="+nowhere+"v4/x", "ECS_CONTAINER_METADATA_URI="+nowhere+"v3/x",
		"ECS_CONTAINER_METADATA_FILE=/absent", "HTTP_PROXY="+nowhere, "HTTPS_PROXY="+nowhere, "ALL_PROXY="+nowhere)
}

// TestChild is the child's part: what a program in a task does.
func TestChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("only in a child process of other tests")
	}
	p, err := ecs.New(t.Context(), ecs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	self := selfOf(t, p)
	peers, err := p.Peers(t.Context())
	if err != nil {
		fmt.Printf("failed: %v\n", err)
		return
	}
	fmt.Printf("found: %s %s %v\n", self.Name, self.Addr, peers)
}
