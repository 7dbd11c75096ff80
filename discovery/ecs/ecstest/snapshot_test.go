package ecstest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// The AWS SDK ships recorded answers with every field of every type. What the fake answers must
// have no field and no type of value that they have not.
func TestAnswersAreLikeTheRecordedOnes(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{PageSize: 1})
	first := addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "10.0.0.1", Sidecars: []string{"envoy"}})
	second := addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "10.0.0.2", NetworkMode: "bridge"})
	sixth := addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "fd00::6"})
	auth := signature(first, "eu-central-1", "ecs")
	tasks, err := json.Marshal(map[string]any{"tasks": []string{first.ARN(), second.ARN(), sixth.ARN(), "missing"}})
	if err != nil {
		t.Fatal(err)
	}
	_, described := call(t, fake, auth, "DescribeTasks", string(tasks))
	instance := ""
	for _, task := range described["tasks"].([]any) {
		if arn, ok := task.(map[string]any)["containerInstanceArn"].(string); ok {
			instance = arn
		}
	}
	for action, body := range map[string]string{
		"ListTasks":                  `{}`,
		"DescribeTasks":              string(tasks),
		"DescribeContainerInstances": `{"containerInstances":["` + instance + `","missing"]}`,
	} {
		status, answer := call(t, fake, auth, action, body)
		if status != 200 {
			t.Fatalf("%s: status %d, %v", action, status, answer)
		}
		for _, difference := range compare(action, answer, recorded(t, "response_snapshot", action, "response")) {
			t.Error(difference)
		}
	}
}

// The fake must not silently ignore anything that the SDK can ask of ListTasks.
func TestListTasksKnowsAllRecordedFields(t *testing.T) {
	t.Parallel()
	known := []string{
		"cluster", "containerInstance", "desiredStatus", "family", "launchType", "maxResults", "nextToken", "serviceName", "startedBy",
		"daemonName", // not played: package ecs does not ask for daemons
	}
	got := slices.Sorted(maps.Keys(recorded(t, "request_snapshot", "ListTasks", "request").(map[string]any)))
	if slices.Sort(known); !slices.Equal(got, known) {
		t.Errorf("the SDK sends %q, the fake knows %q", got, known)
	}
}

// recorded reads the JSON of a recorded request or answer, or skips the test where there is none.
func recorded(t *testing.T, folder, action, kind string) any {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/ecs").Output()
	if err != nil {
		t.Skipf("the SDK's source is not here: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), folder, action+"."+kind+".snap"))
	if err != nil {
		t.Skipf("the SDK has no recorded %s any more: %v", kind, err)
	}
	_, text, ok := strings.Cut(string(data), "\n\n{")
	var doc any
	if !ok || json.Unmarshal([]byte("{"+text), &doc) != nil {
		t.Skipf("the SDK's recorded %s of %s has another form now", kind, action)
	}
	return doc
}

// compare lists the fields of got that want has not, or has with another type of value.
func compare(path string, got, want any) []string {
	switch got := got.(type) {
	case map[string]any:
		want, ok := want.(map[string]any)
		if !ok {
			break
		}
		var differences []string
		for _, name := range slices.Sorted(maps.Keys(got)) {
			if _, ok := want[name]; !ok {
				differences = append(differences, fmt.Sprintf("%s.%s is not in the recorded answer", path, name))
				continue
			}
			differences = append(differences, compare(path+"."+name, got[name], want[name])...)
		}
		return differences
	case []any:
		want, ok := want.([]any)
		if !ok || len(want) == 0 {
			break
		}
		var differences []string
		for _, item := range got {
			differences = append(differences, compare(path+"[]", item, want[0])...)
		}
		return differences
	default:
		if fmt.Sprintf("%T", got) == fmt.Sprintf("%T", want) {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s is %T, recorded as %T", path, got, want)}
}
