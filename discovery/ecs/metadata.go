package ecs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

const (
	metadataTries   = 3
	metadataTimeout = 1500 * time.Millisecond // of one try
	metadataPause   = 200 * time.Millisecond  // before the second try, doubled before each further one
	metadataMax     = 4 << 20                 // bytes of an answer
	describePause   = 2 * time.Second         // while the description lacks ports
)

// metadata is what this package uses of the metadata endpoint's two answers.
// Field names are those of the documents.
type metadata struct {
	task      taskDoc
	container containerDoc // the one this process runs in; zero where the endpoint cannot tell (version 2)
}

type taskDoc struct {
	Cluster          string // name or ARN
	TaskARN          string
	Family           string
	AvailabilityZone string
	LaunchType       string
	ServiceName      string
	Containers       []containerDoc
}

type containerDoc struct {
	Name     string
	Type     string
	Ports    []portDoc
	Networks []networkDoc
}

type portDoc struct {
	ContainerPort int
	HostPort      int
	Protocol      string
	HostIP        string
}

type networkDoc struct {
	NetworkMode   string
	IPv4Addresses []string
	IPv6Addresses []string
}

// networks are those of this container, or of the first ordinary one of the
// task. They are the same for all of them in the only mode in which the
// endpoint cannot tell which one this is.
func (m metadata) networks() []networkDoc {
	if len(m.container.Networks) > 0 {
		return m.container.Networks
	}
	for _, c := range m.task.Containers {
		if len(c.Networks) > 0 && (c.Type == "" || c.Type == "NORMAL") {
			return c.Networks
		}
	}
	return nil
}

// networkMode is the task's, in lower case; "" when the metadata lacks it.
func (m metadata) networkMode() string {
	for _, n := range m.networks() {
		if n.NetworkMode != "" {
			return strings.ToLower(n.NetworkMode)
		}
	}
	return ""
}

// metadataClient asks the metadata endpoint. It never uses a proxy: the
// endpoint is link-local.
type metadataClient struct {
	endpoint endpoint
	http     *http.Client
}

func newMetadataClient(e endpoint) metadataClient {
	return metadataClient{endpoint: e, http: &http.Client{
		Timeout:   metadataTimeout,
		Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true},
	}}
}

// fetch reads the description of the task and of this container. It waits for
// up to metadataTries tries of each.
func (c metadataClient) fetch(ctx context.Context) (metadata, error) {
	var m metadata
	if err := c.get(ctx, c.endpoint.taskURL(), &m.task); err != nil {
		return metadata{}, err
	}
	if c.endpoint.isV2() {
		return m, nil
	}
	if err := c.get(ctx, c.endpoint.url, &m.container); err != nil {
		return metadata{}, err
	}
	return m, nil
}

// get tries several times: the endpoint is unreachable or answers 4xx and 5xx
// while the agent is still putting the metadata together.
func (c metadataClient) get(ctx context.Context, url string, doc any) error {
	var err error
	for try := range metadataTries {
		if try > 0 {
			if werr := pause(ctx, metadataPause<<(try-1)); werr != nil {
				return fmt.Errorf("ecs: metadata endpoint %s: %w; last seen: %w", url, werr, err)
			}
		}
		if err = c.getOnce(ctx, url, doc); err == nil {
			return nil
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("ecs: metadata endpoint %s: %w; last seen: %w", url, cause, err)
	}
	hint := ""
	if c.endpoint.isV2() {
		hint = ", and none of a later version is known (" + envMetadataV4 + "); version 2 is there in network mode awsvpc only"
	}
	kind := ErrTemporary
	if !c.endpoint.onECS() {
		kind, hint = ErrNotOnECS, ", and nothing else says that this is ECS; elsewhere use another provider, such as discovery.Static; it"
	}
	return fmt.Errorf("%w: metadata endpoint %s (from %s)%s failed %d times: %w", kind, url, c.endpoint.from, hint, metadataTries, err)
}

func (c metadataClient) getOnce(ctx context.Context, url string, doc any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, metadataMax+1))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("HTTP status %s: %.200q", resp.Status, body)
	case len(body) > metadataMax:
		return fmt.Errorf("answer is larger than %d bytes", metadataMax)
	}
	if err := json.Unmarshal(body, doc); err != nil {
		return fmt.Errorf("answer %.200q is no metadata: %w", body, err)
	}
	if t, ok := doc.(*taskDoc); ok && t.TaskARN == "" {
		return errors.New("answer has no TaskARN")
	}
	return nil
}

// pause waits for a random time between d/2 and d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error { return sleep(ctx, d/2+rand.N(d/2+1)) }

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
