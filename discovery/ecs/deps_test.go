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
	for _, pkg := range []string{module + "/discovery", module + "/discovery/discoverytest"} {
		for _, dep := range dependencies(t, pkg) {
			if strings.Contains(dep, "aws") || strings.Contains(dep, "smithy") {
				t.Errorf("%s compiles %s", pkg, dep)
			}
		}
	}
}

// Of the SDK it is the configuration and the one service, with what they bring along.
func TestOneServiceOfTheAWSSDK(t *testing.T) {
	t.Parallel()
	const services = "github.com/aws/aws-sdk-go-v2/service/"
	forCredentials := []string{"sso", "ssooidc", "sts", "signin", "internal"} // of package config
	for _, dep := range dependencies(t, module+"/discovery/ecs") {
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

func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pkg, err)
	}
	return strings.Fields(string(out))
}
