package ecs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/internal/long"
)

// What moto, a stand-in for AWS that others wrote, answers is understood. moto does not know which
// tasks a service has, and lists those that stopped; what it does is in package ecstest, too.
func TestAgainstMoto(t *testing.T) {
	t.Parallel()
	m := startMoto(t)
	m.ecs("CreateCluster", `{"clusterName":"prod"}`)
	m.ecs("RegisterTaskDefinition", `{"family":"web","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512",
		"containerDefinitions":[{"name":"app","image":"x","memory":512}]}`)
	m.post("/moto-api/state-manager/set-transition", "", "", `{"model_name":"ecs::task","transition":{"progression":"manual","times":1000000}}`)
	var ran struct {
		Tasks []struct {
			TaskARN     string
			Attachments []struct {
				Details []struct{ Name, Value string }
			}
		}
	}
	if err := json.Unmarshal(m.ecs("RunTask", `{"cluster":"prod","taskDefinition":"web","count":3,"launchType":"FARGATE","group":"service:web",
		"startedBy":"ecs-svc/1","tags":[{"key":"bus","value":"x"}],
		"networkConfiguration":{"awsvpcConfiguration":{"subnets":["`+m.subnet()+`"],"securityGroups":["sg-1"]}}}`), &ran); err != nil {
		t.Fatal(err)
	}
	var ips []string
	for _, task := range ran.Tasks {
		for _, d := range task.Attachments[0].Details {
			if d.Name == "privateIPv4Address" {
				ips = append(ips, d.Value)
			}
		}
	}
	if len(ips) != 3 {
		t.Fatalf("moto started %+v, want three tasks with addresses", ran)
	}
	p := m.provider(ran.Tasks[0].TaskARN, ips[0], func(cfg *ecs.Config) { cfg.Tags = map[string]string{"bus": "x"} })
	for range 2 {
		wantPeers(t, p, ips[1]+":7946", ips[2]+":7946")
	}
	if own := p.Task(); own.Service != "web" || own.Deployment != "ecs-svc/1" || own.Tags["bus"] != "x" {
		t.Errorf("Task gave %+v", own)
	}
	if self := selfOf(t, p); self.Addr != ips[0] {
		t.Errorf("Self gave %+v, want %s", self, ips[0])
	}
	m.ecs("StopTask", `{"cluster":"prod","task":"`+ran.Tasks[1].TaskARN+`"}`)
	fresh := m.provider(ran.Tasks[0].TaskARN, ips[0], nil)
	wantPeers(t, fresh, ips[2]+":7946")

	absent := m.provider(ran.Tasks[0].TaskARN, ips[0], func(cfg *ecs.Config) { cfg.Cluster, cfg.Services = "absent", []string{"web"} })
	_, err := absent.Peers(t.Context())
	if !errors.Is(err, ecs.ErrClusterNotFound) {
		t.Errorf("Peers in a cluster that is not there gave %v", err)
	}
}

// moto is a moto_server.
type moto struct {
	t   *testing.T
	url string
}

// startMoto starts a moto_server that ends with the test, which is skipped where there is none.
func startMoto(t *testing.T) moto {
	t.Helper()
	program, err := exec.LookPath("moto_server")
	if err != nil {
		t.Skip("moto_server is not installed (pip install 'moto[server]')")
	}
	long.Only(t, "a server in Python starts slowly")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	_ = listener.Close()
	server := exec.CommandContext(t.Context(), program, "-H", "127.0.0.1", "-p", port)
	var said bytes.Buffer
	server.Stdout, server.Stderr = &said, &said
	server.WaitDelay = time.Second
	if err := server.Start(); err != nil {
		t.Skipf("moto_server does not start: %v", err)
	}
	ended := make(chan struct{})
	go func() { // ends with the server, which the cleanup kills
		defer close(ended)
		_ = server.Wait()
	}()
	t.Cleanup(func() {
		_ = server.Process.Kill()
		<-ended
	})
	m := moto{t, "http://127.0.0.1:" + port}
	for deadline := time.After(30 * time.Second); ; {
		if resp, err := http.Get(m.url + "/moto-api/data.json"); err == nil {
			_ = resp.Body.Close()
			return m
		}
		select {
		case <-ended:
			t.Skipf("moto_server does not run: %.500s", &said)
		case <-deadline:
			t.Skip("moto_server does not answer within 30s")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// post sends a request for a service of AWS, by whose signature moto knows which.
func (m moto) post(path, service, target, body string) []byte {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.url+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	if service != "" {
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=KEY/20260101/eu-central-1/"+service+"/aws4_request, SignedHeaders=host, Signature=00")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if target != "" {
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		req.Header.Set("X-Amz-Target", target)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		m.t.Fatalf("moto answers %s %s with %s: %.500s, %v", path, target, resp.Status, answer, err)
	}
	return answer
}

func (m moto) ecs(action, body string) []byte {
	m.t.Helper()
	return m.post("/", "ecs", "AmazonEC2ContainerServiceV20141113."+action, body)
}

// subnet is one of those that each region has from the beginning.
func (m moto) subnet() string {
	m.t.Helper()
	answer := m.post("/", "ec2", "", "Action=DescribeSubnets&Version=2016-11-15")
	subnet := regexp.MustCompile(`subnet-[0-9a-f]+`).Find(answer)
	if subnet == nil {
		m.t.Fatalf("moto has no subnet: %.500s", answer)
	}
	return string(subnet)
}

// provider is a provider that believes to be that task of moto's, which has no metadata endpoint.
func (m moto) provider(arn, ip string, change func(*ecs.Config)) *ecs.Provider {
	m.t.Helper()
	container := map[string]any{"Name": "app", "Type": "NORMAL", "Networks": []any{
		map[string]any{"NetworkMode": "awsvpc", "IPv4Addresses": []string{ip}},
	}}
	task := map[string]any{"TaskARN": arn, "Cluster": "prod", "Family": "web", "Containers": []any{container}}
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		doc := container
		if strings.HasSuffix(r.URL.Path, "/task") {
			doc = task
		}
		_ = json.NewEncoder(w).Encode(doc)
	}))
	m.t.Cleanup(metadata.Close)
	cfg := ecs.Config{MetadataURL: metadata.URL + "/v4/x", Port: 7946, AWS: &aws.Config{
		BaseEndpoint: &m.url,
		HTTPClient:   numbersAsText{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "KEY", SecretAccessKey: "secret"}, nil
		}),
	}}
	if change != nil {
		change(&cfg)
	}
	p, err := ecs.New(m.t.Context(), cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// numbersAsText is an HTTP client that mends what the SDK cannot decode of moto's answers: numbers
// where the API has text.
type numbersAsText struct{}

var number = regexp.MustCompile(`"(cpu|memory|memoryReservation)": ?(\d+)`)

func (numbersAsText) Do(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	mended := number.ReplaceAll(body, []byte(`"$1":"$2"`))
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(mended)), int64(len(mended))
	resp.Header.Del("Content-Length")
	return resp, err
}
