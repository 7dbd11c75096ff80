package ecs_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/runrig-go/runrig"

// Who uses another provider must not have to compile the AWS SDK.
func TestOnlyThisPackageCompilesTheAWSSDK(t *testing.T) {
	t.Parallel()
	const ofAWS = `{{range .Deps}}{{if ge (len .) 15}}{{if eq (slice . 0 15) "github.com/aws/"}} {{.}}{{end}}{{end}}{{end}}`
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}}"+ofAWS, module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for line := range strings.Lines(string(out)) {
		pkg, deps, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(pkg, module+"/discovery/ecs") || strings.HasPrefix(pkg, module+"/examples/") {
			seen = seen || deps != ""
		} else if deps != "" {
			t.Errorf("%s compiles %s", pkg, deps)
		}
	}
	if !seen {
		t.Error("no package compiles it; nothing is tested")
	}
}

// Of the SDK it is the configuration and the one service, with what they bring along.
func TestOneServiceOfTheAWSSDK(t *testing.T) {
	t.Parallel()
	const services = "github.com/aws/aws-sdk-go-v2/service/"
	forCredentials := []string{"sso", "ssooidc", "sts", "signin", "internal"} // of package config
	for _, dep := range list(t, "-deps", module+"/discovery/ecs") {
		service, ok := strings.CutPrefix(dep, services)
		if !ok {
			continue
		}
		service, _, _ = strings.Cut(service, "/")
		known := service == "ecs"
		for _, name := range forCredentials {
			known = known || service == name
		}
		if !known {
			t.Errorf("%s is compiled", dep)
		}
	}
}

// list is go list: the import paths it prints.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %q: %v", args, err)
	}
	return strings.Fields(string(out))
}
