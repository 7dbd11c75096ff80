package ecs_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"github.com/runrig-go/runrig/discovery/internal/long"
)

// The template in the examples is what CloudFormation takes, and gives the rights that are needed.
func TestTemplate(t *testing.T) {
	t.Parallel()
	const template = "../../examples/ecsdemo/service.cfn.yaml"
	text, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"ecs:ListTasks", "ecs:DescribeTasks"} {
		if !bytes.Contains(text, []byte(action)) {
			t.Errorf("the template does not allow %s", action)
		}
	}
	var actions []string
	for _, action := range regexp.MustCompile(`ecs:[A-Z]\w+`).FindAllString(string(text), -1) {
		if !slices.Contains(actions, action) {
			actions = append(actions, action)
		}
	}
	if len(actions) != 2 {
		t.Errorf("the template allows %q, more than is needed", actions)
	}
	lint, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("cfn-lint is not installed (pip install cfn-lint)")
	}
	long.Only(t, "cfn-lint takes some seconds")
	out, err := exec.CommandContext(t.Context(), lint, template).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && (!errors.As(err, &exit) || exit.ExitCode() >= 126): // a shim without a program
		t.Skipf("cfn-lint does not run: %v", err)
	case err != nil || len(bytes.TrimSpace(out)) > 0:
		t.Errorf("cfn-lint finds: %v\n%s", err, out)
	}
}
