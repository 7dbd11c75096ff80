// Package kubernetes is discovery by the EndpointSlices of a service, for pods that may
// ask the API server. A headless service with discovery.DNS needs no right and does as
// well; this sees pods sooner, and those that are not ready. It is an example that may
// be copied; it needs the standard library only.
//
// The pod's service account needs
//
//	rules: [{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}]
package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/runrig-go/runrig/discovery"
)

const (
	account    = "/var/run/secrets/kubernetes.io/serviceaccount"
	askTimeout = 10 * time.Second
	maxAnswer  = 16 << 20 // bytes
)

// Provider finds the pods of a service.
type Provider struct {
	Service   string // its name
	Port      string // name of the service's port at which nodes listen
	Namespace string // the default is the pod's own

	API     string       // URL of the API server; the default is that of the cluster the pod runs in
	Client  *http.Client // the default trusts the cluster's authority
	Account string       // directory of the service account; the default is where pods have it
}

var (
	_ discovery.Provider = (*Provider)(nil)
	_ discovery.Watcher  = (*Provider)(nil)
)

// list is what the API has of EndpointSlices.
type list struct {
	Metadata struct{ ResourceVersion string }
	Items    []struct {
		Endpoints []struct {
			Addresses  []string
			Conditions struct{ Terminating bool }
		}
		Ports []struct {
			Name string
			Port int
		}
	}
}

// Peers returns the pods of the service that are not going, ready or not: a node is not
// ready before it has found others.
func (p *Provider) Peers(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	found, _, err := p.list(ctx)
	return found, err
}

func (p *Provider) list(ctx context.Context) (found []string, version string, err error) {
	body, err := p.get(ctx, nil)
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return nil, "", fmt.Errorf("kubernetes: %w", err)
	}
	if len(text) > maxAnswer {
		return nil, "", fmt.Errorf("kubernetes: the EndpointSlices of %q have over %d bytes", p.Service, maxAnswer)
	}
	var l list
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, "", fmt.Errorf("kubernetes: EndpointSlices of %q: %w", p.Service, err)
	}
	return l.addresses(p.Port), l.Metadata.ResourceVersion, nil
}

// addresses returns each once: a pod may be in two slices while it moves.
func (l list) addresses(port string) (found []string) {
	seen := map[string]bool{}
	for _, slice := range l.Items {
		for _, at := range slice.Ports {
			if at.Name != port {
				continue
			}
			for _, e := range slice.Endpoints {
				if e.Conditions.Terminating || len(e.Addresses) == 0 {
					continue
				}
				if addr := net.JoinHostPort(e.Addresses[0], strconv.Itoa(at.Port)); !seen[addr] {
					seen[addr] = true
					found = append(found, addr)
				}
			}
		}
	}
	return found
}

// Watch reads what the API server tells of changes.
func (p *Provider) Watch(ctx context.Context, changed func()) error {
	_, version, err := p.list(ctx)
	if err != nil {
		return err
	}
	changed() // since the last question, perhaps
	body, err := p.get(ctx, url.Values{"watch": {"true"}, "resourceVersion": {version}})
	if err != nil {
		return err
	}
	defer body.Close()
	for events := json.NewDecoder(body); ; {
		var e struct{ Type string }
		if err := events.Decode(&e); err != nil {
			return fmt.Errorf("kubernetes: watching %q: %w", p.Service, err)
		}
		if e.Type == "ERROR" {
			return fmt.Errorf("kubernetes: watching %q ended: the version is too old", p.Service)
		}
		changed()
	}
}

// get asks for the service's EndpointSlices. That access is denied is for somebody to
// mend.
func (p *Provider) get(ctx context.Context, q url.Values) (io.ReadCloser, error) {
	req, client, err := p.request(ctx, q)
	if err != nil {
		return nil, discovery.Misconfigured(fmt.Errorf("kubernetes: %w", err))
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	_ = res.Body.Close()
	err = fmt.Errorf("kubernetes: EndpointSlices of %q: %s: %.200q", p.Service, res.Status, text)
	if res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized {
		err = discovery.Misconfigured(err)
	}
	return nil, err
}

// request makes a request with the account's token, which changes from time to time.
func (p *Provider) request(ctx context.Context, q url.Values) (*http.Request, *http.Client, error) {
	if p.Service == "" || p.Port == "" {
		return nil, nil, errors.New("Provider.Service or Port is empty")
	}
	token, err := os.ReadFile(p.file("token"))
	if err != nil {
		return nil, nil, err
	}
	space := p.Namespace
	if space == "" {
		own, err := os.ReadFile(p.file("namespace"))
		if err != nil {
			return nil, nil, err
		}
		space = string(own)
	}
	api := p.API
	if api == "" {
		api = "https://" + net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	}
	if q == nil {
		q = url.Values{}
	}
	q.Set("labelSelector", "kubernetes.io/service-name="+p.Service)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		api+"/apis/discovery.k8s.io/v1/namespaces/"+url.PathEscape(strings.TrimSpace(space))+"/endpointslices?"+q.Encode(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	client, err := p.client()
	return req, client, err
}

func (p *Provider) file(name string) string {
	if p.Account != "" {
		return filepath.Join(p.Account, name)
	}
	return filepath.Join(account, name)
}

// client returns a client that trusts the cluster's authority.
func (p *Provider) client() (*http.Client, error) {
	if p.Client != nil {
		return p.Client, nil
	}
	ca, err := os.ReadFile(p.file("ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s has no certificate", p.file("ca.crt"))
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
	}}, nil
}
