// Package consul is discovery by a Consul agent: the nodes enter themselves in its
// catalogue, where others find them. It is an example of a discovery.Registrar that may
// be copied; it needs the standard library only.
package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/runrig-go/runrig/discovery"
)

const (
	askTimeout = 10 * time.Second
	maxAnswer  = 4 << 20 // bytes
)

// Provider finds nodes by a Consul agent. Its zero value asks the agent of this host.
type Provider struct {
	Agent   string       // its URL; the default is http://127.0.0.1:8500
	Token   string       // for the agent's access control, if it has any
	Client  *http.Client // the default is http.DefaultClient
	Service string       // name in the catalogue; the default is the name of the cluster
}

var (
	_ discovery.Provider  = (*Provider)(nil)
	_ discovery.Registrar = (*Provider)(nil)
	_ discovery.Watcher   = (*Provider)(nil)
)

// instance is what the catalogue has of a node.
type instance struct {
	Service struct {
		Address string
		Port    int
	}
}

// Peers returns the nodes whose entry was renewed in time.
func (p *Provider) Peers(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	found, _, err := p.healthy(ctx, "")
	return found, err
}

// healthy asks for the nodes; with an index it waits for a change since that.
func (p *Provider) healthy(ctx context.Context, index string) (found []string, next string, err error) {
	q := url.Values{"passing": {"true"}}
	if index != "" {
		q.Set("index", index)
		q.Set("wait", "5m")
	}
	var list []instance
	header, err := p.call(ctx, http.MethodGet, "/v1/health/service/"+url.PathEscape(p.service(ctx))+"?"+q.Encode(), nil, &list)
	if err != nil {
		return nil, "", err
	}
	for _, i := range list {
		found = append(found, net.JoinHostPort(i.Service.Address, strconv.Itoa(i.Service.Port)))
	}
	return found, header.Get("X-Consul-Index"), nil
}

// Watch waits at the agent for changes.
func (p *Provider) Watch(ctx context.Context, changed func()) error {
	last := "0"
	for {
		_, next, err := p.healthy(ctx, last)
		if err != nil {
			return err
		}
		if next == "" {
			return errors.New("consul: the agent's answer has no X-Consul-Index: changes cannot be waited for")
		}
		if next != last {
			changed()
		}
		last = next
	}
}

// Register renews the entry of a node, or enters it, with a check that Consul fails
// unless it is renewed.
func (p *Provider) Register(ctx context.Context, r discovery.Registration) error {
	_, err := p.call(ctx, http.MethodPut, "/v1/agent/check/pass/service:"+url.PathEscape(r.ID), nil, nil)
	if err == nil || discovery.IsMisconfigured(err) {
		return err
	}
	addr, err := netip.ParseAddrPort(r.Addr) // the agent does not know the entry, or says below what else is wrong
	if err != nil {
		return fmt.Errorf("consul: address of %s: %w", r.ID, err)
	}
	entry := map[string]any{
		"ID": r.ID, "Name": p.service(ctx), "Address": addr.Addr().String(), "Port": addr.Port(), "Meta": r.Tags,
		"Check": map[string]string{
			"TTL": (3 * discovery.Heartbeat).String(), "Status": "passing", "DeregisterCriticalServiceAfter": "1m",
		},
	}
	_, err = p.call(ctx, http.MethodPut, "/v1/agent/service/register", entry, nil)
	return err
}

// Deregister removes the entry.
func (p *Provider) Deregister(ctx context.Context, r discovery.Registration) error {
	_, err := p.call(ctx, http.MethodPut, "/v1/agent/service/deregister/"+url.PathEscape(r.ID), nil, nil)
	if errors.Is(err, errUnknown) {
		return nil
	}
	return err
}

func (p *Provider) service(ctx context.Context) string {
	if p.Service != "" {
		return p.Service
	}
	return discovery.ClusterOf(ctx)
}

var errUnknown = errors.New("not found")

// call calls the agent. An answer that says that access is denied, or that the request
// is wrong, is for somebody to mend.
func (p *Provider) call(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	var text io.Reader
	if in != nil {
		entry, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("consul: %w", err)
		}
		text = bytes.NewReader(entry)
	}
	agent, client := p.Agent, p.Client
	if agent == "" {
		agent = "http://127.0.0.1:8500"
	}
	if client == nil {
		client = http.DefaultClient
	}
	req, err := http.NewRequestWithContext(ctx, method, agent+path, text)
	if err != nil {
		return nil, discovery.Misconfigured(fmt.Errorf("consul: %w", err))
	}
	if p.Token != "" {
		req.Header.Set("X-Consul-Token", p.Token)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("consul: %s: %w", path, err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("consul: %s: the answer has over %d bytes", path, maxAnswer)
	case res.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("consul: %s: %w", path, errUnknown)
	case res.StatusCode == http.StatusForbidden, res.StatusCode == http.StatusBadRequest:
		return nil, discovery.Misconfigured(fmt.Errorf("consul: %s: %s: %.200q", path, res.Status, body))
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("consul: %s: %s: %.200q", path, res.Status, body)
	case out == nil:
		return res.Header, nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return nil, fmt.Errorf("consul: %s: %w", path, err)
	}
	return res.Header, nil
}
