package ecstest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

func newFake(t *testing.T, cfg ecstest.Config) *ecstest.Fake {
	t.Helper()
	fake, err := ecstest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fake.Close() })
	return fake
}

func addTask(t *testing.T, fake *ecstest.Fake, cfg ecstest.TaskConfig) *ecstest.Task {
	t.Helper()
	task, err := fake.AddTask(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// signature is what a request signed with the fake's key has, but for the signature itself.
func signature(task *ecstest.Task, region, service string) string {
	key := ""
	for _, setting := range task.Env() {
		if value, ok := strings.CutPrefix(setting, "AWS_ACCESS_KEY_ID="); ok {
			key = value
		}
	}
	return "AWS4-HMAC-SHA256 Credential=" + key + "/20260101/" + region + "/" + service + "/aws4_request, SignedHeaders=host, Signature=00"
}

// call makes one call of the API and returns the status and the answer.
func call(t *testing.T, fake *ecstest.Fake, auth, action, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fake.URL()+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113."+action)
	req.Header.Set("Authorization", auth)
	status, text := do(t, req)
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%s answered %q: %v", action, text, err)
	}
	return status, answer
}

func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	task := addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "10.0.0.1"})
	good := signature(task, "eu-central-1", "ecs")
	many := `{"tasks":["` + strings.Repeat(`x","`, 100) + `x"]}`
	for name, tt := range map[string]struct{ auth, action, body, want string }{
		"not signed":         {"", "ListTasks", "{}", "MissingAuthenticationTokenException"},
		"short scope":        {"AWS4-HMAC-SHA256 Credential=x/y, Signature=00", "ListTasks", "{}", "IncompleteSignatureException"},
		"other key":          {strings.Replace(good, "Credential=", "Credential=REAL", 1), "ListTasks", "{}", "UnrecognizedClientException"},
		"other region":       {signature(task, "us-east-1", "ecs"), "ListTasks", "{}", "InvalidSignatureException"},
		"other service":      {signature(task, "eu-central-1", "ec2"), "ListTasks", "{}", "InvalidSignatureException"},
		"no such action":     {good, "RunTask", "{}", "UnknownOperationException"},
		"no such cluster":    {good, "ListTasks", `{"cluster":"defaul"}`, "ClusterNotFoundException"},
		"no such service":    {good, "ListTasks", `{"serviceName":"we"}`, "ServiceNotFoundException"},
		"two filters":        {good, "ListTasks", `{"serviceName":"web","startedBy":"x"}`, "InvalidParameterException"},
		"page too small":     {good, "ListTasks", `{"maxResults":0}`, "InvalidParameterException"},
		"page too large":     {good, "ListTasks", `{"maxResults":101}`, "InvalidParameterException"},
		"bad token":          {good, "ListTasks", `{"nextToken":"-"}`, "InvalidParameterException"},
		"negative token":     {good, "ListTasks", `{"nextToken":"LTE="}`, "InvalidParameterException"},
		"no JSON":            {good, "ListTasks", `{`, "SerializationException"},
		"nothing asked":      {good, "DescribeTasks", `{}`, "InvalidParameterException"},
		"too much asked":     {good, "DescribeTasks", many, "InvalidParameterException"},
		"no such cluster 2":  {good, "DescribeTasks", `{"cluster":"x","tasks":["y"]}`, "ClusterNotFoundException"},
		"no instances asked": {good, "DescribeContainerInstances", `{}`, "InvalidParameterException"},
	} {
		status, answer := call(t, fake, tt.auth, tt.action, tt.body)
		if status != http.StatusBadRequest || answer["__type"] != tt.want {
			t.Errorf("%s: got status %d, %v; want %s", name, status, answer, tt.want)
		}
	}
}

func TestListTasksFilters(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	task := addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "10.0.0.1", StartedBy: "ecs-svc/1"})
	addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "10.0.0.2", Family: "web2", NetworkMode: "host"})
	addTask(t, fake, ecstest.TaskConfig{Service: "web-2", Address: "10.0.0.3", Status: "PENDING"})
	addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "10.0.0.4", Status: "DEACTIVATING"})
	addTask(t, fake, ecstest.TaskConfig{Cluster: "default-2", Service: "web", Address: "10.0.0.5"})
	auth := signature(task, "eu-central-1", "ecs")
	for body, want := range map[string]int{
		`{}`:                            3,
		`{"cluster":"default"}`:         3,
		`{"desiredStatus":"RUNNING"}`:   3,
		`{"desiredStatus":"STOPPED"}`:   1,
		`{"desiredStatus":"PENDING"}`:   0,
		`{"serviceName":"web"}`:         2,
		`{"family":"web2"}`:             1,
		`{"launchType":"EC2"}`:          1,
		`{"startedBy":"ecs-svc/1"}`:     1,
		`{"cluster":"default-2"}`:       1,
		`{"maxResults":2}`:              2,
		`{"nextToken":"Mg=="}`:          1,
		`{"nextToken":"OTk="}`:          0,
		`{"containerInstance":"other"}`: 0,
		`{"serviceName":"arn:aws:ecs:eu-central-1:123456789012:service/default/web-2"}`: 1,
	} {
		status, answer := call(t, fake, auth, "ListTasks", body)
		arns, ok := answer["taskArns"].([]any)
		if status != http.StatusOK || !ok || len(arns) != want {
			t.Errorf("%s: got status %d, %v; want %d tasks", body, status, answer, want)
		}
	}
	if n := fake.Calls("ListTasks"); n != 15 {
		t.Errorf("%d calls were counted, want 15", n)
	}
}

func TestDescribeTasksOfAnotherClusterAreMissing(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	task := addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "10.0.0.1"})
	other := addTask(t, fake, ecstest.TaskConfig{Cluster: "two", Service: "web", Address: "10.0.0.2"})
	gone := addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "10.0.0.3"})
	gone.Remove()
	stopped := addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "10.0.0.4"})
	stopped.Stop()
	_, answer := call(t, fake, signature(task, "eu-central-1", "ecs"), "DescribeTasks",
		`{"tasks":["`+task.ID()+`","`+other.ARN()+`","`+gone.ID()+`","`+stopped.ARN()+`"]}`)
	if tasks := answer["tasks"].([]any); len(tasks) != 2 {
		t.Errorf("%d tasks are described, want 2: %v", len(tasks), tasks)
	}
	failures := answer["failures"].([]any)
	if len(failures) != 2 || failures[0].(map[string]any)["reason"] != "MISSING" {
		t.Errorf("failures are %v, want two that are MISSING", failures)
	}
}

func TestMetadataRefusals(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "10.0.0.1"})
	for path, want := range map[string]int{
		"/v4/unknown":      http.StatusNotFound,
		"/v4/unknown/task": http.StatusNotFound,
		"/v3/unknown":      http.StatusInternalServerError,
		"/v2/metadata":     http.StatusBadRequest, // the caller is no task
		"/v4":              http.StatusNotFound,
		"/v9/x":            http.StatusNotFound,
		"/":                http.StatusNotFound,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fake.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := do(t, req); status != want {
			t.Errorf("%s: status %d %q, want %d", path, status, body, want)
		}
	}
}

func TestTaskConfigErrorsNameTheField(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	for field, cfg := range map[string]ecstest.TaskConfig{
		"TaskConfig.Address":         {Address: "10.0.0"},
		"TaskConfig.NetworkMode":     {Address: "10.0.0.1", NetworkMode: "none"},
		"TaskConfig.Status":          {Address: "10.0.0.1", Status: "running"},
		"TaskConfig.LaunchType":      {Address: "10.0.0.1", NetworkMode: "bridge", LaunchType: "FARGATE"},
		"TaskConfig.MetadataVersion": {Address: "10.0.0.1", MetadataVersion: 5},
	} {
		if _, err := fake.AddTask(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("error is %v, want one that names %s", err, field)
		}
	}
	for field, cfg := range map[string]ecstest.Config{
		"Config.PageSize": {PageSize: 101},
		"Config.Listen":   {Listen: "nowhere"},
	} {
		if _, err := ecstest.New(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("error is %v, want one that names %s", err, field)
		}
	}
}

func TestCloseEndsRequestsThatHang(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	fake.Inject(ecstest.Hang("ListTasks"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fake.URL()+"/", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113.ListTasks")
	done := make(chan error, 1)
	go func() { // ends with the request
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	for fake.Calls("ListTasks") == 0 { // until it hangs
		if ctx.Err() != nil {
			t.Fatal("the request did not arrive")
		}
		runtime.Gosched()
	}
	if err := fake.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	if ctx.Err() != nil {
		t.Error("the request ended only with its own time limit")
	}
	if err := fake.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestFaultsAreUsedUpInOrder(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	task := addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "10.0.0.1"})
	auth := signature(task, "eu-central-1", "ecs")
	fake.Inject(ecstest.Throttle(2))
	fake.Inject(ecstest.ServerError(1))
	fake.Inject(ecstest.AccessDenied("DescribeTasks"))
	for i, want := range []any{"ThrottlingException", "ThrottlingException", "ServerException", nil} {
		if _, answer := call(t, fake, auth, "ListTasks", "{}"); answer["__type"] != want {
			t.Errorf("answer %d is %v, want %v", i+1, answer, want)
		}
	}
	for range 2 {
		if _, answer := call(t, fake, auth, "DescribeTasks", `{"tasks":["x"]}`); answer["__type"] != "AccessDeniedException" {
			t.Errorf("answer is %v, want AccessDeniedException", answer)
		}
	}
}

// What ECS sets is there, and the control plane's key and address are only the fake's.
func TestEnvOfVersions(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	for version, want := range map[int][2]bool{4: {true, true}, 3: {false, true}, 2: {false, false}} {
		task := addTask(t, fake, ecstest.TaskConfig{Address: "10.0.0.1", MetadataVersion: version})
		env := map[string]string{}
		for _, setting := range task.Env() {
			name, value, _ := strings.Cut(setting, "=")
			if _, twice := env[name]; twice {
				t.Errorf("%s is there twice", name)
			}
			env[name] = value
		}
		if got := [2]bool{env["ECS_CONTAINER_METADATA_URI_V4"] != "", env["ECS_CONTAINER_METADATA_URI"] != ""}; got != want {
			t.Errorf("version %d: V4 and V3 variables set: %v, want %v", version, got, want)
		}
		if env["AWS_ENDPOINT_URL_ECS"] != fake.URL() || env["AWS_EXECUTION_ENV"] != "AWS_ECS_FARGATE" {
			t.Errorf("version %d: environment is %q", version, env)
		}
	}
}
