package demo

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/verticle"
)

// Where the two verticles that receive are reached.
const (
	pointAddress     = "ecsdemo.point"
	broadcastAddress = "ecsdemo.broadcast"
)

// greeting is the message: the IP of the task that sends it, and a number by
// which a lost one is found out.
type greeting struct {
	IP string `json:"ip"`
	N  uint64 `json:"n"`
}

// PointVerticle prints the greetings that are sent to it. Every task has one,
// and each greeting comes to one of them.
type PointVerticle struct{ Local string }

// Start consumes.
func (v *PointVerticle) Start(_ context.Context, d *verticle.Deployment) error {
	_, err := d.Consume(pointAddress, printGreeting("PointVerticle", v.Local))
	return err
}

// Stop does nothing: the deployment closes its consumer.
func (v *PointVerticle) Stop(context.Context) error { return nil }

// BroadcastVerticle prints the greetings that are published. Every task has
// one, and each greeting comes to all of them.
type BroadcastVerticle struct{ Local string }

// Start consumes.
func (v *BroadcastVerticle) Start(_ context.Context, d *verticle.Deployment) error {
	_, err := d.Consume(broadcastAddress, printGreeting("BroadcastVerticle", v.Local))
	return err
}

// Stop does nothing: the deployment closes its consumer.
func (v *BroadcastVerticle) Stop(context.Context) error { return nil }

func printGreeting(name, local string) bus.Handler {
	return bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
		var g greeting
		if err := m.Decode(&g); err != nil {
			return err
		}
		logReceived(slog.Default(), name, local, g, m.Via().String())
		return nil
	})
}

// logReceived writes the line that shows, in the log of all tasks, a message
// that crossed from one to another.
func logReceived(log *slog.Logger, name, local string, g greeting, via string) {
	log.Info("received", "verticle", name, "local", local, "received", g.IP, "via", via, "n", g.N)
}

// HTTPVerticle answers GET /health and, at each one, sends this task's IP to
// the two other verticles.
type HTTPVerticle struct {
	Listen string // host:port
	Local  string // this task's IP
	Gossip bool   // publish over the gossip lane

	Peers http.HandlerFunc // answers GET /peers, for the doctor

	server       *http.Server
	eb           *bus.EventBus
	sent, failed atomic.Uint64 // greetings; each is one Send and one Publish
}

// sendTimeout bounds what a health check waits for the bus. Whether it gets
// rid of its greeting does not change the answer: the check says that this task
// lives, not that others do.
const sendTimeout = time.Second

// Start listens.
func (v *HTTPVerticle) Start(_ context.Context, d *verticle.Deployment) error {
	l, err := net.Listen("tcp", v.Listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", v.health)
	mux.HandleFunc("GET /peers", v.Peers)
	v.eb = d.EventBus()
	v.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	d.Go(func(context.Context) error {
		if err := v.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return nil
}

// Stop waits for the health check that is being answered.
func (v *HTTPVerticle) Stop(ctx context.Context) error { return v.server.Shutdown(ctx) }

func (v *HTTPVerticle) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), sendTimeout)
	defer cancel()
	g := greeting{IP: v.Local, N: v.sent.Add(1)}
	v.note("PointVerticle", g, v.eb.Send(ctx, pointAddress, g))
	v.note("BroadcastVerticle", g, v.eb.Publish(ctx, broadcastAddress, g, v.lane()...))

	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "ok", "ip": v.Local, "sent": g.N, "links": len(v.eb.Peers())})
}

func (v *HTTPVerticle) lane() []bus.CallOption {
	if v.Gossip {
		return []bus.CallOption{bus.Gossip()}
	}
	return nil
}

// note logs and counts what could not be sent.
func (v *HTTPVerticle) note(to string, g greeting, err error) {
	if err != nil {
		v.failed.Add(1)
		slog.Warn("not sent", "verticle", to, "local", v.Local, "n", g.N, "err", err)
	}
}
