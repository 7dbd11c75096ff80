package inspect

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/runrig-go/runrig/cluster"
)

// A Client asks a node from another process, over the node's own port: see
// cluster.DialAdmin for who may. Its methods may be called concurrently. The errors of
// its calls match those of DialAdmin, and [ErrNotAllowed].
type Client struct {
	http http.Client
	addr string
}

// ErrNotAllowed says that the node is only to be looked at ([ReadOnly]).
var ErrNotAllowed = errors.New("inspect: not allowed")

// NewClient returns a client of the node at addr, "host:port". Of c it takes what
// cluster.DialAdmin does. It dials when it is first used.
func NewClient(addr string, c cluster.Config) *Client {
	return &Client{addr: addr, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return cluster.DialAdmin(ctx, addr, c) },
	}}}
}

// Close closes the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Addr returns the address of the node.
func (c *Client) Addr() string { return c.addr }

// Node returns the snapshot of the node.
func (c *Client) Node(ctx context.Context, q Query) (n Node, err error) {
	return n, c.get(ctx, "node", q.values(), &n)
}

// Cluster returns the snapshot of the cluster that the node makes.
func (c *Client) Cluster(ctx context.Context, q Query) (s Cluster, err error) {
	return s, c.get(ctx, "cluster", q.values(), &s)
}

// Consumers returns how many consumers of an address each node has, as the node knows them.
func (c *Client) Consumers(ctx context.Context, address string) (all []Consumers, err error) {
	return all, c.get(ctx, "consumers", url.Values{"address": {address}}, &all)
}

// Ping has the node send packets to the others.
func (c *Client) Ping(ctx context.Context) (all []Ping, err error) {
	return all, c.get(ctx, "ping", nil, &all)
}

// Call has the node send a message.
func (c *Client) Call(ctx context.Context, call Call) (a Answer, err error) {
	return a, c.do(ctx, http.MethodPost, "call", nil, call, &a)
}

// Events calls f with the last events that the node remembers, at most so many, and
// then with each that happens, until ctx ends or f returns false; it returns nil then.
func (c *Client) Events(ctx context.Context, last int, f func(Event) bool) error {
	return streamOf(ctx, c, http.MethodGet, "events", url.Values{"last": {strconv.Itoa(last)}}, nil, func() {}, f)
}

// OwnEvents is Events without what changes at other nodes: see [Inspector.OwnEvents].
func (c *Client) OwnEvents(ctx context.Context, last int, f func(Event) bool) error {
	return streamOf(ctx, c, http.MethodGet, "events", url.Values{"last": {strconv.Itoa(last)}, "own": {""}}, nil, func() {}, f)
}

// Listen has the node consume an address, until ctx ends or f returns false; it returns
// nil then. known is called when the nodes know the consumer.
func (c *Client) Listen(ctx context.Context, l Listen, known func(), f func(Said) bool) error {
	return streamOf(ctx, c, http.MethodPost, "listen", nil, l, known, f)
}

func (c *Client) get(ctx context.Context, path string, v url.Values, to any) error {
	return c.do(ctx, http.MethodGet, path, v, nil, to)
}

// do asks, and decodes the answer.
func (c *Client) do(ctx context.Context, method, path string, v url.Values, body, to any) error {
	resp, err := c.ask(ctx, method, path, v, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(to); err != nil {
		return fmt.Errorf("inspect: answer of %s: %w", c.addr, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection can be used again
	return nil
}

func (c *Client) ask(ctx context.Context, method, path string, v url.Values, body any) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "node.invalid", Path: "/v1/" + path, RawQuery: v.Encode()}
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("inspect: %w", err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), in)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the URL says nothing
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, maxText))
	return nil, statusError(c.addr, resp.StatusCode, strings.TrimSpace(string(said)))
}

// statusError is the error of an answer that is none.
func statusError(addr string, status int, said string) error {
	switch status {
	case http.StatusUnauthorized:
		return fmt.Errorf("%w: the node at %s: %s", cluster.ErrSecret, addr, said)
	case http.StatusForbidden:
		return fmt.Errorf("%w: the node at %s: %s", ErrNotAllowed, addr, said)
	}
	return fmt.Errorf("inspect: the node at %s: %s", addr, said)
}

// streamOf calls f with each line of an answer.
func streamOf[T any](ctx context.Context, c *Client, method, path string, v url.Values, body any, known func(), f func(T) bool) error {
	resp, err := c.ask(ctx, method, path, v, body)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	in := bufio.NewReader(resp.Body)
	for first := true; ; first = false {
		line, err := in.ReadBytes('\n')
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("inspect: the node at %s has ended the stream: %w", c.addr, err)
		case first:
			known()
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var t T
		if err := json.Unmarshal(line, &t); err != nil {
			return fmt.Errorf("inspect: line of %s: %w", c.addr, err)
		}
		if !f(t) {
			return nil
		}
	}
}
