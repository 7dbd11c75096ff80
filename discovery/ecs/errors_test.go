package ecs_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// twoTasks is a provider for a task that has one peer, 10.0.0.2.
func twoTasks(t *testing.T, change func(*ecs.Config)) (*ecstest.Fake, *ecs.Provider) {
	t.Helper()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	addTask(t, fake, web("10.0.0.2"))
	return fake, newProvider(t, own, change)
}

// sentinels are all of this package's, to check that an error is one kind and not another.
var sentinels = []error{
	ecs.ErrNotOnECS, ecs.ErrTemporary, ecs.ErrAccessDenied, ecs.ErrNoCredentials, ecs.ErrNoRegion,
	ecs.ErrClusterNotFound, ecs.ErrServiceNotFound, ecs.ErrNoAddress, ecs.ErrHostPort,
}

func wantOnly(t *testing.T, err, want error) {
	t.Helper()
	for _, sentinel := range sentinels {
		if got := errors.Is(err, sentinel); got != (sentinel == want) {
			t.Errorf("errors.Is(err, %q) is %v for: %v", sentinel, got, err)
		}
	}
	if got := discovery.IsMisconfigured(err); got != (want != ecs.ErrTemporary) {
		t.Errorf("IsMisconfigured is %v for: %v", got, err)
	}
}

func TestErrorsOfTheAPI(t *testing.T) {
	t.Parallel()
	aws400 := func(kind string) ecstest.Fault { return ecstest.Fault{Type: kind, Message: "said AWS"} }
	for name, tt := range map[string]struct {
		fault ecstest.Fault
		want  error
		says  []string
		calls int // of ListTasks
	}{
		"throttled":        {ecstest.Throttle(0), ecs.ErrTemporary, []string{"Rate exceeded", `"web"`, "prod"}, 3},
		"server error":     {ecstest.ServerError(0), ecs.ErrTemporary, []string{"try again later"}, 3},
		"new kind of 503":  {ecstest.Fault{Status: 503, Type: "SomethingNewException"}, ecs.ErrTemporary, nil, 3},
		"bad gateway":      {ecstest.Fault{Status: 502, Body: "<html>"}, ecs.ErrTemporary, nil, 3},
		"too many":         {ecstest.Fault{Status: 429, Body: "{}"}, ecs.ErrTemporary, nil, 0},
		"access denied":    {ecstest.AccessDenied("ListTasks"), ecs.ErrAccessDenied, []string{"task role", "not the execution role", "ecs:ListTasks and ecs:DescribeTasks", "is not authorized to perform"}, 1},
		"expired token":    {aws400("ExpiredTokenException"), ecs.ErrNoCredentials, []string{"said AWS", "taskRoleArn"}, 0},
		"unknown key":      {aws400("UnrecognizedClientException"), ecs.ErrNoCredentials, []string{"said AWS"}, 1},
		"no such cluster":  {aws400("ClusterNotFoundException"), ecs.ErrClusterNotFound, []string{"Config.Cluster", "prod", `"eu-central-1"`}, 1},
		"no such service":  {aws400("ServiceNotFoundException"), ecs.ErrServiceNotFound, []string{"Config.Services", `"web"`}, 1},
		"bad request":      {aws400("InvalidParameterException"), nil, []string{"said AWS", "ecs:ListTasks"}, 1},
		"client exception": {aws400("ClientException"), nil, []string{"said AWS"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake, p := twoTasks(t, func(cfg *ecs.Config) { cfg.Services = []string{"web"} })
			fake.Inject(tt.fault)
			peers, err := p.Peers(t.Context())
			if err == nil || peers != nil {
				t.Fatalf("Peers gave %q, %v; want an error", peers, err)
			}
			wantOnly(t, err, tt.want)
			wantText(t, err, tt.says...)
			if got := fake.Calls("ListTasks"); tt.calls > 0 && got != tt.calls {
				t.Errorf("ListTasks was called %d times, want %d", got, tt.calls)
			}
			fake.ClearFaults()
			wantPeers(t, p, "10.0.0.2:7946")
		})
	}
}

func TestShortThrottlingIsRiddenOut(t *testing.T) {
	t.Parallel()
	fake, p := twoTasks(t, nil)
	fake.Inject(ecstest.Throttle(2))
	wantPeers(t, p, "10.0.0.2:7946")
}

func TestAccessDeniedShowsThePolicyOnce(t *testing.T) {
	t.Parallel()
	var log journal
	fake, p := twoTasks(t, func(cfg *ecs.Config) { cfg.Logger = log.logger(); cfg.Services = []string{"web"} })
	for _, action := range []string{"ListTasks", "DescribeTasks"} {
		fake.Inject(ecstest.AccessDenied(action))
		for range 2 {
			_, err := p.Peers(t.Context())
			wantOnly(t, err, ecs.ErrAccessDenied)
			wantText(t, err, "ecs:"+action, "ecs:ListTasks and ecs:DescribeTasks", "task role")
		}
		fake.ClearFaults()
	}
	text := strings.ReplaceAll(log.String(), `\"`, `"`)
	if n := strings.Count(text, "2012-10-17"); n != 1 {
		t.Errorf("the policy is logged %d times, want once:\n%s", n, text)
	}
	for _, part := range []string{
		`"Action":"ecs:ListTasks","Resource":"*","Condition":{"ArnEquals":{"ecs:cluster":"arn:aws:ecs:eu-central-1:123456789012:cluster/prod"}}`,
		`"Action":"ecs:DescribeTasks","Resource":"arn:aws:ecs:eu-central-1:123456789012:task/prod/*"`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the log lacks %s:\n%s", part, text)
		}
	}
	if strings.Contains(text, "DescribeContainerInstances") {
		t.Errorf("the policy asks for more than awsvpc mode needs:\n%s", text)
	}
}

func TestAccessDeniedToContainerInstances(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, bridge("10.0.0.1", static(8001)))
	addTask(t, fake, bridge("10.0.0.2", static(8002)))
	var log journal
	p := newProvider(t, own, func(cfg *ecs.Config) { cfg.Logger = log.logger() })
	fake.Inject(ecstest.AccessDenied("DescribeContainerInstances"))
	_, err := p.Peers(t.Context())
	wantOnly(t, err, ecs.ErrAccessDenied)
	wantText(t, err, "ecs:DescribeContainerInstances")
	if !strings.Contains(log.String(), "container-instance/prod/*") {
		t.Errorf("the policy lacks the third action:\n%s", &log)
	}
}

func TestHangingAPIEndsWithTheContext(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"ListTasks", "DescribeTasks"} {
		fake, p := twoTasks(t, nil)
		fake.Inject(ecstest.Hang(action))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		peers, err := p.Peers(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || peers != nil {
			t.Errorf("Peers gave %q, %v; want the context's error", peers, err)
		}
		wantText(t, err, "ecs:"+action)
		fake.ClearFaults()
		wantPeers(t, p, "10.0.0.2:7946")
	}
}

func TestNoConnectionIsTemporary(t *testing.T) {
	t.Parallel()
	fake, p := twoTasks(t, nil)
	fake.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := p.Peers(ctx)
	wantOnly(t, err, ecs.ErrTemporary)
	wantText(t, err, "com.amazonaws.eu-central-1.ecs", "NAT gateway")
}

func TestCredentialErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("no EC2 IMDS role found")
	provider := func(err error) func(*ecs.Config) {
		return func(cfg *ecs.Config) {
			cfg.AWS.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{}, err
			})
		}
	}
	fake := newFake(t, ecstest.Config{})
	own := addTask(t, fake, web("10.0.0.1"))
	withRole := map[string]string{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x"}
	for name, tt := range map[string]struct {
		err  error
		env  map[string]string
		want error
		says string
	}{
		"no role":            {broken, nil, ecs.ErrNoCredentials, "set taskRoleArn in the task definition"},
		"no role, no answer": {context.DeadlineExceeded, nil, ecs.ErrTemporary, "the credentials of Config.AWS"},
		"role refused":       {broken, withRole, ecs.ErrNoCredentials, "no EC2 IMDS role found"},
		"role, no answer":    {context.DeadlineExceeded, withRole, ecs.ErrTemporary, "credentials"},
	} {
		cfg := own.Config()
		provider(tt.err)(&cfg)
		p, err := ecs.NewWithEnv(t.Context(), cfg, tt.env)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Peers(t.Context())
		t.Run(name, func(t *testing.T) {
			wantOnly(t, err, tt.want)
			wantText(t, err, tt.says)
		})
	}
	wantCalls(t, fake, "ListTasks=0")
}

// skewed is a client of an API whose clock is ahead, and that says so at the first call.
type skewed struct {
	direct
	by       time.Duration
	requests int
}

func (s *skewed) Do(r *http.Request) (*http.Response, error) {
	date, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return nil, err
	}
	s.requests++
	resp := &http.Response{
		StatusCode: http.StatusBadRequest, Request: r, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(`{"__type":"InvalidSignatureException","message":"Signature expired: is now earlier than"}`)),
	}
	if time.Now().Add(s.by).Sub(date).Abs() < 5*time.Minute {
		if resp, err = s.direct.Do(r); err != nil {
			return nil, err
		}
	}
	resp.Header.Set("Date", time.Now().Add(s.by).UTC().Format(http.TimeFormat))
	return resp, nil
}

// The SDK corrects a clock that is wrong, so that it is no error of the credentials.
func TestWrongClock(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		client := &skewed{by: by}
		fake, p := twoTasks(t, func(cfg *ecs.Config) { cfg.AWS.HTTPClient = client })
		client.direct = direct{fake}
		wantPeers(t, p, "10.0.0.2:7946")
		if client.requests != 4 { // a list and two descriptions, the first of which is tried again
			t.Errorf("%d requests, want 4", client.requests)
		}
	}
}

func TestRegion(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{Region: "cn-north-1"})
	own := addTask(t, fake, web("10.0.0.1"))
	noRegion := web("10.0.0.3")
	noRegion.EditMetadata = func(_ string, doc map[string]any) {
		if doc["TaskARN"] != nil {
			doc["TaskARN"] = "arn:aws:ecs:::task/prod/0123"
		}
	}
	_, err := ecs.New(t.Context(), addTask(t, fake, noRegion).Config())
	wantOnly(t, err, ecs.ErrNoRegion)
	wantText(t, err, "AWS_REGION", "Config.Region")

	var log journal
	for _, tt := range []struct {
		configured, sdk string
		ok              bool
	}{
		{"", "", true}, // from the ARN
		{"", "cn-north-1", true},
		{"cn-north-1", "us-east-1", true},
		{"us-east-1", "cn-north-1", false},
		{"", "us-east-1", false},
	} {
		p := newProvider(t, own, func(cfg *ecs.Config) {
			cfg.Region, cfg.AWS.Region, cfg.Logger = tt.configured, tt.sdk, log.logger()
		})
		if _, err := p.Peers(t.Context()); (err == nil) != tt.ok {
			t.Errorf("Config.Region %q, Config.AWS.Region %q: Peers gave error %v", tt.configured, tt.sdk, err)
		}
	}
	if n := strings.Count(log.String(), "region to ask differs"); n != 2 {
		t.Errorf("the wrong region is warned of %d times, want 2:\n%s", n, &log)
	}
}
