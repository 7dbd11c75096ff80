package ecs

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// The environment that the ECS agent and Fargate give to a container (Amazon
// ECS developer guide, "Task metadata endpoint" versions 2 to 4).
const (
	envMetadataV4   = "ECS_CONTAINER_METADATA_URI_V4"
	envMetadataV3   = "ECS_CONTAINER_METADATA_URI"
	envMetadataFile = "ECS_CONTAINER_METADATA_FILE"
	envExecution    = "AWS_EXECUTION_ENV"
	envCredentials  = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
	envCodeBuild    = "CODEBUILD_BUILD_ID" // of AWS CodeBuild, whose containers are tasks of AWS's own

	metadataV2     = "http://169.254.170.2/v2/metadata"
	metadataV2Path = "/v2/metadata"
)

// endpoint is where the metadata of this process's task is found.
type endpoint struct {
	url  string // of the container, or of the task for version 2
	from string // the setting it was taken from, for errors
}

// findEndpoint chooses the newest metadata endpoint there is. Version 2 has no
// sign of its own and would have to be waited for, so that it is tried only
// where something else says "ECS".
func findEndpoint(configured string, env func(string) string) (endpoint, error) {
	switch {
	case configured != "":
		return checkEndpoint(configured, "Config.MetadataURL")
	case env(envCodeBuild) != "":
		return endpoint{}, fmt.Errorf("%w: %s is set, so this is a build of AWS CodeBuild, which has no ECS tasks of yours; use another provider, such as discovery.Static",
			ErrNotOnECS, envCodeBuild)
	case env(envMetadataV4) != "":
		return checkEndpoint(env(envMetadataV4), envMetadataV4)
	case env(envMetadataV3) != "":
		return checkEndpoint(env(envMetadataV3), envMetadataV3)
	case strings.Contains(env(envExecution), "ECS"):
		return endpoint{url: metadataV2, from: envExecution}, nil
	case env(envCredentials) != "":
		return endpoint{url: metadataV2, from: envCredentials}, nil
	}
	return endpoint{}, fmt.Errorf("%w: none of %s, %s, %s and %s is set as ECS sets them; elsewhere use another provider, such as discovery.Static",
		ErrNotOnECS, envMetadataV4, envMetadataV3, envExecution, envCredentials)
}

func checkEndpoint(raw, from string) (endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return endpoint{}, fmt.Errorf("ecs: %s is %q, which is no http URL", from, raw)
	}
	return endpoint{url: strings.TrimRight(raw, "/"), from: from}, nil
}

// onECS reports whether this is ECS for sure. Others give container credentials,
// too.
func (e endpoint) onECS() bool { return e.from != envCredentials }

// isV2 reports whether the endpoint knows the asking container only by its
// address.
func (e endpoint) isV2() bool { return strings.HasSuffix(e.url, metadataV2Path) }

// taskURL is where the description of the whole task is.
func (e endpoint) taskURL() string {
	if e.isV2() {
		return e.url
	}
	return e.url + "/task"
}

// onLoopback reports whether the endpoint is on this very machine. Inside a
// real task it is at a link-local address, whatever the network mode; only a
// fake is on loopback.
func (e endpoint) onLoopback() bool {
	u, err := url.Parse(e.url)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}
