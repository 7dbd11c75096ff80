package kubernetes_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/discoverytest"
	"github.com/runrig-go/runrig/examples/kubernetes"
)

// slices of a service: one pod is in two of them, one is not ready, one is going, and
// one has the port of another protocol only.
const endpointSlices = `{
	"kind": "EndpointSliceList", "metadata": {"resourceVersion": "17"},
	"items": [
		{"addressType": "IPv4", "ports": [{"name": "node", "port": 7946}, {"name": "http", "port": 80}], "endpoints": [
			{"addresses": ["10.0.0.7"], "conditions": {"ready": true}},
			{"addresses": ["10.0.0.8"], "conditions": {"ready": false}},
			{"addresses": ["10.0.0.9"], "conditions": {"ready": false, "terminating": true}}]},
		{"addressType": "IPv4", "ports": [{"name": "node", "port": 7946}], "endpoints": [{"addresses": ["10.0.0.7"]}]},
		{"addressType": "IPv6", "ports": [{"name": "node", "port": 7946}], "endpoints": [{"addresses": ["fd00::7"]}]},
		{"addressType": "IPv4", "ports": [{"name": "http", "port": 80}], "endpoints": [{"addresses": ["10.0.0.10"]}]}
	]}`

var want = []string{"10.0.0.7:7946", "10.0.0.8:7946", "[fd00::7]:7946"}

// newServer returns as much of an API server as the provider uses, and a provider in a
// pod that may ask it. More is what it tells who watches.
func newServer(t *testing.T, more <-chan string) (*httptest.Server, *kubernetes.Provider) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer token-of-the-pod":
			http.Error(w, "endpointslices is forbidden", http.StatusForbidden)
		case r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", r.FormValue("labelSelector") != "kubernetes.io/service-name=web":
			http.NotFound(w, r)
		case r.FormValue("watch") != "":
			if r.FormValue("resourceVersion") != "17" {
				http.Error(w, "version", http.StatusBadRequest)
				return
			}
			for kind := range more {
				fmt.Fprintf(w, `{"type":%q,"object":{}}`+"\n", kind)
				w.(http.Flusher).Flush()
			}
		default:
			fmt.Fprint(w, endpointSlices)
		}
	}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	for name, text := range map[string]string{"token": "token-of-the-pod\n", "namespace": "shop", "ca.crt": string(ca)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s, &kubernetes.Provider{Service: "web", Port: "node", API: s.URL, Account: dir}
}

func TestConforms(t *testing.T) {
	t.Parallel()
	discoverytest.Run(t, func(t *testing.T) discovery.Provider {
		_, p := newServer(t, nil)
		return p
	}, want)
	discoverytest.RunDown(t, func(t *testing.T) discovery.Provider {
		s, p := newServer(t, nil)
		s.Close()
		return p
	})
}

// What is set wrongly is for somebody to mend, and says what it is.
func TestMisconfigured(t *testing.T) {
	t.Parallel()
	for text, change := range map[string]func(*kubernetes.Provider){
		"forbidden": func(p *kubernetes.Provider) {
			_ = os.WriteFile(filepath.Join(p.Account, "token"), []byte("old"), 0o600)
		},
		"token":         func(p *kubernetes.Provider) { _ = os.Remove(filepath.Join(p.Account, "token")) },
		"Port is empty": func(p *kubernetes.Provider) { p.Port = "" },
		"certificate":   func(p *kubernetes.Provider) { _ = os.WriteFile(filepath.Join(p.Account, "ca.crt"), nil, 0o600) },
	} {
		_, p := newServer(t, nil)
		change(p)
		if _, err := p.Peers(t.Context()); !discovery.IsMisconfigured(err) || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v; want one of configuration about %q", err, text)
		}
	}
}

// Changes are told as the API server tells them, until it ends the stream.
func TestWatch(t *testing.T) {
	t.Parallel()
	more := make(chan string)
	_, p := newServer(t, more)
	changed, ended := make(chan struct{}, 10), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- p.Watch(ctx, func() { changed <- struct{}{} }) }()
	<-changed
	for _, kind := range []string{"ADDED", "MODIFIED", "DELETED"} {
		more <- kind
		<-changed
	}
	more <- "ERROR"
	close(more)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "too old") {
		t.Errorf("Watch ended with %v", err)
	}
	if got, err := p.Peers(t.Context()); err != nil || !slices.Equal(got, want) {
		t.Errorf("found %q, %v", got, err)
	}
}
