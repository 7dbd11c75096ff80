package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMissingTable runs the program, as one node, with a DynamoDB that has no table:
// it says which, and what its role needs, and ends.
func TestMissingTable(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "ecsdemo")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dynamo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`))
	}))
	t.Cleanup(dynamo.Close)
	bind := freeAddr(t)
	cmd := exec.CommandContext(t.Context(), program, "-peers", bind, "-bind", bind, "-http", freeAddr(t))
	cmd.Env = []string{
		"SYSTEMROOT=" + os.Getenv("SYSTEMROOT"), "RUNRIG_LEASES=demo-Leases-1X",
		"AWS_ENDPOINT_URL_DYNAMODB=" + dynamo.URL, "AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=KEY", "AWS_SECRET_ACCESS_KEY=secret",
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("it ended well")
	}
	for _, text := range []string{"table demo-Leases-1X", "dynamodb:GetItem and dynamodb:UpdateItem", "role of the task"} {
		if !strings.Contains(string(out), text) {
			t.Errorf("it does not say %q: %s", text, out)
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
