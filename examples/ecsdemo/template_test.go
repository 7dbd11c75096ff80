package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/examples/internal/long"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTemplate holds what the template says to what the program needs.
func TestTemplate(t *testing.T) {
	t.Parallel()
	template := readFile(t, "service.cfn.yaml")
	actions := regexp.MustCompile(`\b(?:ecs|ecr|logs|secretsmanager|dynamodb):[A-Z]\w+`).FindAllString(template, -1)
	if want := []string{
		"ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage",
		"logs:CreateLogStream", "logs:PutLogEvents", "secretsmanager:GetSecretValue", // of the agent
		"ecs:ListTasks", "ecs:DescribeTasks", "dynamodb:GetItem", "dynamodb:UpdateItem", // of the program
	}; !slices.Equal(actions, want) {
		t.Errorf("the template allows %q, want %q", actions, want)
	}
	port := fmt.Sprint(cluster.DefaultPort)
	for _, text := range []string{
		"Name: RUNRIG_SECRET",
		"Name: RUNRIG_LEASES, Value: !Ref Leases",
		"Resource: !GetAtt Leases.Arn",
		"{ContainerPort: " + port + ", Protocol: tcp}",
		"{ContainerPort: " + port + ", Protocol: udp}",
		"IpProtocol: tcp\n      FromPort: " + port + "\n      ToPort: " + port,
		"IpProtocol: udp\n      FromPort: " + port + "\n      ToPort: " + port,
		"Command: [CMD, /ecsdemo, healthcheck]",
		"StartPeriod: 100",
		"StopTimeout: 60",
		"MinimumHealthyPercent: 100",
		"DeploymentCircuitBreaker: {Enable: true, Rollback: true}",
	} {
		if !strings.Contains(template, text) {
			t.Errorf("the template lacks %q", text)
		}
	}
	for _, text := range []string{"CidrIp", "ManagedPolicyArns", "&", "0.0.0.0"} { // CloudFormation has no aliases of YAML
		if strings.Contains(template, text) {
			t.Errorf("the template has %q", text)
		}
	}
	if !strings.Contains(readFile(t, "Dockerfile"), `ENTRYPOINT ["/ecsdemo"]`) {
		t.Error("the image has no /ecsdemo to check its health with")
	}
}

// TestTemplateLint runs cfn-lint, where it is installed.
func TestTemplateLint(t *testing.T) {
	long.Only(t, "cfn-lint takes some seconds")
	t.Parallel()
	lint, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("there is no cfn-lint")
	}
	if out, err := exec.CommandContext(t.Context(), lint, "service.cfn.yaml").CombinedOutput(); err != nil {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}
