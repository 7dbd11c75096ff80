package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/inspect"
	"github.com/runrig-go/runrig/verticle"
)

// Web is what the service shows over HTTP.
type Web struct {
	Listen string // host:port
	Node   *cluster.Node

	eb     *bus.EventBus
	server *http.Server
}

// Start listens.
func (w *Web) Start(_ context.Context, d *verticle.Deployment) error {
	l, err := net.Listen("tcp", w.Listen)
	if err != nil {
		return err
	}
	w.eb = d.EventBus()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /greet/{name}", w.greet)
	mux.Handle("GET /livez", inspect.Livez(w.Node))
	mux.Handle("GET /readyz", inspect.Readyz(w.Node))
	mux.HandleFunc("GET /stats", w.stats)
	w.server = &http.Server{Handler: mux}
	d.Go(func(context.Context) error {
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return nil
}

// Stop answers what is being asked, and no more.
func (w *Web) Stop(ctx context.Context) error { return w.server.Shutdown(ctx) }

func (w *Web) greet(rw http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	hi, err := bus.Request[string](ctx, w.eb, "greet", r.PathValue("name"), bus.Await())
	if err != nil {
		http.Error(rw, err.Error(), status(err))
		return
	}
	fmt.Fprintln(rw, hi)
}

// status tells the client of an error whether to ask again.
func status(err error) int {
	var no *bus.ReplyError
	switch {
	case errors.As(err, &no):
		return http.StatusInternalServerError
	case errors.Is(err, bus.ErrNoConsumer), errors.Is(err, bus.ErrBusy), errors.Is(err, bus.ErrClosed):
		return http.StatusServiceUnavailable // no handler has run
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// stats are the counters, for a collector.
func (w *Web) stats(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(map[string]any{
		"state": w.Node.State().String(), "links": len(w.eb.Peers()), "bus": w.eb.Stats(), "node": w.Node.Stats(),
	})
}
