// Package leases lets processes of one machine share a store of leases: one of them
// serves it over HTTP on the loopback, as the rehearsal does for its tasks. It is no
// store for a cluster: it ends with the process that serves it.
//
//	GET /KEY       the value, and its version in the header Version, 0 for no value
//	PUT /KEY       with the version that is expected in the header Version
//	DELETE /KEY    the same
//
// A conflict is status 409, with what is there.
package leases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/runrig-go/runrig/verticle/lease"
)

const (
	versionHeader = "Version"
	maxValue      = 1 << 20
)

// Serve serves a store on the loopback, and returns its URL. It ends when stop is
// called.
func Serve(store lease.Store) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: handler{store}, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() { // until stop, which waits for it
		defer close(done)
		_ = server.Serve(l) // Close ends it
	}()
	return "http://" + l.Addr().String(), func() { _ = server.Close(); <-done }, nil
}

type handler struct{ store lease.Store }

// ServeHTTP does what the method says.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/")
	old, _ := strconv.ParseUint(r.Header.Get(versionHeader), 10, 64)
	value, version, err := h.do(r, key, old)
	status := http.StatusOK
	var is *lease.Conflict
	switch {
	case errors.As(err, &is):
		value, version, status = is.Value, is.Version, http.StatusConflict
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set(versionHeader, strconv.FormatUint(version, 10))
	w.WriteHeader(status)
	_, _ = w.Write(value) // it fails when the process that asked is gone
}

func (h handler) do(r *http.Request, key string, old uint64) (value []byte, version uint64, err error) {
	switch r.Method {
	case http.MethodGet:
		return h.store.Get(r.Context(), key)
	case http.MethodPut:
		value, err := io.ReadAll(io.LimitReader(r.Body, maxValue))
		if err != nil {
			return nil, 0, err
		}
		version, err := h.store.Put(r.Context(), key, value, old)
		return nil, version, err
	case http.MethodDelete:
		return nil, 0, h.store.Delete(r.Context(), key, old)
	}
	return nil, 0, fmt.Errorf("method %s", r.Method)
}

// Store is a store that another process serves.
type Store struct {
	base   string
	client *http.Client
}

// Open returns the store that is served at that URL.
func Open(base string) *Store {
	return &Store{strings.TrimSuffix(base, "/") + "/", &http.Client{Transport: &http.Transport{Proxy: nil}}}
}

// Get returns the value of a key and its version.
func (s *Store) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	return s.call(ctx, http.MethodGet, key, nil, 0)
}

// Put sets the value of a key whose version is old.
func (s *Store) Put(ctx context.Context, key string, value []byte, old uint64) (uint64, error) {
	if len(value) > maxValue {
		return 0, fmt.Errorf("%w: the value of %q has %d bytes; the limit is %d", lease.ErrMisconfigured, key, len(value), maxValue)
	}
	_, version, err := s.call(ctx, http.MethodPut, key, value, old)
	return version, err
}

// Delete makes a key absent whose version is old.
func (s *Store) Delete(ctx context.Context, key string, old uint64) error {
	_, _, err := s.call(ctx, http.MethodDelete, key, nil, old)
	return err
}

func (s *Store) call(ctx context.Context, method, key string, body []byte, old uint64) ([]byte, uint64, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+url.PathEscape(key), bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set(versionHeader, strconv.FormatUint(old, 10))
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("leases: %w", err)
	}
	defer resp.Body.Close()
	value, err := io.ReadAll(resp.Body)
	version, verr := strconv.ParseUint(resp.Header.Get(versionHeader), 10, 64)
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("leases: %s %q: %w", method, key, err)
	case resp.StatusCode == http.StatusConflict && verr == nil:
		return nil, 0, &lease.Conflict{Key: key, Value: value, Version: version}
	case resp.StatusCode != http.StatusOK || verr != nil:
		return nil, 0, fmt.Errorf("leases: %s %q at %s: %s: %.200s", method, key, s.base, resp.Status, value)
	}
	return value, version, nil
}
