package main

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// RequestArgs describe a run of requests.
type RequestArgs struct {
	Callers int
	Size    int
	For     time.Duration
	Bound   string // how each request has a deadline of its own: byContext, byOption, or "" for not at all
}

const (
	byContext = "timeout"
	byOption  = "within"
)

// bounder is a transport that has a way of its own to bound a request.
type bounder interface {
	RequestWithin(d time.Duration, address string, body []byte) ([]byte, error)
}

// Replied is what came of a run of requests.
type Replied struct {
	Sent, Count int64
	Elapsed     time.Duration
	P50, P99    float64
	Err         string // the first failure
}

// answerer sends back what it gets.
type answerer struct{ n atomic.Int64 }

func (a *answerer) echo(body []byte) []byte {
	a.n.Add(1)
	return body
}

// Request lets callers request, each its next as soon as it has the reply.
func (n *Node) Request(a RequestArgs, r *Replied) error {
	callers := make([]caller, a.Callers)
	hists := make([]histogram, min(a.Callers, 16))
	start := time.Now()
	var wg sync.WaitGroup
	for i := range callers {
		callers[i].hist = &hists[i%len(hists)]
		wg.Go(func() { callers[i].call(n.t, uint64(i), a, start) })
	}
	wg.Wait()
	r.Elapsed = time.Since(start)
	var all histogram
	for i := range hists {
		all.merge(&hists[i])
	}
	for _, c := range callers {
		r.Sent += c.sent
		if c.err != "" {
			r.Err = c.err
		}
	}
	r.Count, r.P50, r.P99 = all.total(), all.quantile(0.50), all.quantile(0.99)
	return nil
}

type caller struct {
	sent int64
	hist *histogram // shared with some others
	err  string
}

func (c *caller) call(t transport, id uint64, a RequestArgs, start time.Time) {
	body := newBody(a.Size)
	for at := start; at.Sub(start) < a.For; {
		c.sent++
		mark(body, id, uint64(c.sent), 0)
		reply, err := c.request(t, a, body)
		t := time.Now()
		switch {
		case err != nil:
			c.err = err.Error()
			return
		case len(reply) != len(body) || binary.LittleEndian.Uint64(reply) != binary.LittleEndian.Uint64(body):
			c.err = "a reply is not what was asked"
			return
		}
		c.hist.add(int64(t.Sub(at)))
		at = t
	}
}

func (c *caller) request(t transport, a RequestArgs, body []byte) ([]byte, error) {
	switch a.Bound {
	case "":
		return t.Request(context.Background(), echoAddress, body)
	case byOption:
		return t.(bounder).RequestWithin(callTimeout, echoAddress, body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	return t.Request(ctx, echoAddress, body)
}
