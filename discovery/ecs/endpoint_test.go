package ecs

import (
	"errors"
	"strings"
	"testing"
)

func TestFindEndpoint(t *testing.T) {
	t.Parallel()
	const v4, v3 = "http://169.254.170.2/v4/abc", "http://169.254.170.2/v3/abc"
	for name, tt := range map[string]struct {
		configured string
		env        map[string]string
		want, task string // "" for ErrNotOnECS
	}{
		"configured":       {"http://10.0.0.1/x/", map[string]string{envMetadataV4: v4}, "http://10.0.0.1/x", "http://10.0.0.1/x/task"},
		"version 4":        {"", map[string]string{envMetadataV4: v4, envMetadataV3: v3}, v4, v4 + "/task"},
		"version 3":        {"", map[string]string{envMetadataV3: v3, envExecution: "AWS_ECS_EC2"}, v3, v3 + "/task"},
		"fargate":          {"", map[string]string{envExecution: "AWS_ECS_FARGATE"}, metadataV2, metadataV2},
		"task role":        {"", map[string]string{envCredentials: "/v2/credentials/x"}, metadataV2, metadataV2},
		"configured as v2": {metadataV2, nil, metadataV2, metadataV2},
		"nothing":          {"", nil, "", ""},
		"lambda":           {"", map[string]string{envExecution: "AWS_Lambda_go1.x"}, "", ""},
		"CodeBuild":        {"", map[string]string{envCodeBuild: "p:1", envCredentials: "/v2/credentials/x", envExecution: "AWS_ECS_EC2", envMetadataV3: v3}, "", ""},
		"empty variables":  {"", map[string]string{envMetadataV4: "", envMetadataV3: ""}, "", ""},
	} {
		got, err := findEndpoint(tt.configured, func(name string) string { return tt.env[name] })
		switch {
		case tt.want == "" && !errors.Is(err, ErrNotOnECS):
			t.Errorf("%s: error is %v, want ErrNotOnECS", name, err)
		case tt.want != "" && (err != nil || got.url != tt.want || got.taskURL() != tt.task):
			t.Errorf("%s: found %q (task %q), %v; want %q", name, got.url, got.taskURL(), err, tt.want)
		}
	}
}

func TestBadEndpointNamesItsVariable(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"169.254.170.2/v4/x", "ftp://169.254.170.2/", "http://", "http://\x7f/"} {
		_, err := findEndpoint("", func(name string) string { return map[string]string{envMetadataV4: value}[name] })
		if err == nil || errors.Is(err, ErrNotOnECS) || !strings.Contains(err.Error(), envMetadataV4) {
			t.Errorf("%q: error is %v, want one that names %s", value, err, envMetadataV4)
		}
	}
}

func TestOnLoopback(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"http://127.0.0.1:8080/v4/x":     true,
		"http://127.8.8.8/v4/x":          true,
		"http://[::1]:8080/v4/x":         true,
		metadataV2:                       false,
		"http://10.0.0.1/v4/x":           false,
		"http://localhost/v4/x":          false, // a name may be anything
		"http://127.0.0.1.evil.example/": false,
	} {
		if got := (endpoint{url: url}).onLoopback(); got != want {
			t.Errorf("onLoopback of %q is %v", url, got)
		}
	}
}

func TestChooseRegion(t *testing.T) {
	t.Parallel()
	env := map[string]string{"AWS_REGION": "b", "AWS_DEFAULT_REGION": "c"}
	get := func(name string) string { return env[name] }
	for _, want := range []string{"a", "b", "c", "d", ""} {
		cfg, ofTask := Config{}, "d"
		switch want {
		case "a":
			cfg.Region = "a"
		case "c":
			delete(env, "AWS_REGION")
		case "d":
			delete(env, "AWS_DEFAULT_REGION")
		case "":
			ofTask = ""
		}
		if got := chooseRegion(cfg, get, ofTask); got != want {
			t.Errorf("region is %q, want %q", got, want)
		}
	}
}

func TestParseTaskARN(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string]taskARN{
		"arn:aws:ecs:eu-central-1:123456789012:task/prod/0123":   {"aws", "eu-central-1", "123456789012", "0123"},
		"arn:aws:ecs:eu-central-1:123456789012:task/0123":        {"aws", "eu-central-1", "123456789012", "0123"},
		"arn:aws-cn:ecs:cn-north-1:123456789012:task/prod/ab-cd": {"aws-cn", "cn-north-1", "123456789012", "ab-cd"},
		"":                            {},
		"0123":                        {},
		"arn:aws:ecs:x:1:service/a/b": {},
		"arn:aws:ecs:x:1:task/":       {},
		"arn:aws:ec2:x:1:task/a/b":    {},
	} {
		got, err := parseTaskARN(arn)
		if got != want || (err == nil) != (want != taskARN{}) {
			t.Errorf("%q: got %+v, %v; want %+v", arn, got, err, want)
		}
	}
}
