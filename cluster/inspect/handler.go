package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/runrig-go/runrig/cluster"
)

// Bounds of what the handlers take and hold.
const (
	maxCall   = 32 << 20         // bytes of a Call
	beatEvery = 15 * time.Second // an empty line in a stream, so that a dead reader is noticed
)

// Handler is for cluster.Config.Admin. It serves what the command runrig shows and does:
//
//	GET  /v1/node      a Node      (parameters: addresses, members, links, verticles, sort, match, buckets: see Query)
//	GET  /v1/cluster   a Cluster   (the same)
//	GET  /v1/consumers how many each node has of an address (parameter: address)
//	GET  /v1/ping      Pings, a list
//	GET  /v1/events    Events, a line each, as they happen (last: how many of before; own: no changes at other nodes)
//	POST /v1/call      takes a Call, sends the message, and answers with an Answer
//	POST /v1/listen    takes a Listen, and answers with what is heard, a Said a line
//	GET  /livez, /readyz
//
// All documents are JSON. What is wrong with a request has status 400 and a line of text.
// A line of a stream may be empty: it shows that both ends are there. The first line of
// listen is empty and comes when the consumer is known.
func Handler(n *cluster.Node) http.Handler {
	mux := reading(n)
	i := Of(n)
	mux.HandleFunc("POST /v1/call", i.serveCall)
	mux.HandleFunc("POST /v1/listen", i.serveListen)
	return mux
}

// ReadOnly is [Handler] without call and listen: who asks sees addresses, names and
// tags, and sends and hears no message.
func ReadOnly(n *cluster.Node) http.Handler {
	mux := reading(n)
	mux.HandleFunc("POST /v1/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not allowed: this node is only to be looked at (inspect.ReadOnly)", http.StatusForbidden)
	})
	return mux
}

func reading(n *cluster.Node) *http.ServeMux {
	i := Of(n)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/node", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func(_ context.Context, q Query) (Node, error) { return i.Node(q) })
	})
	mux.HandleFunc("GET /v1/cluster", func(w http.ResponseWriter, r *http.Request) { answer(w, r, i.Cluster) })
	mux.HandleFunc("GET /v1/consumers", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, i.Consumers(r.URL.Query().Get("address")))
	})
	mux.HandleFunc("GET /v1/ping", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, i.Ping()) })
	mux.HandleFunc("GET /v1/events", i.serveEvents)
	mux.Handle("GET /livez", Livez(n))
	mux.Handle("GET /readyz", Readyz(n))
	return mux
}

// answer answers a question that has a Query.
func answer[T any](w http.ResponseWriter, r *http.Request, ask func(context.Context, Query) (T, error)) {
	q, err := queryOf(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v, err := ask(r.Context(), q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, v)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(w).Encode(v) // who asks may have gone
}

// take reads the document of a request, which must be of JSON by its type: no page in a
// browser can send that to another origin unasked.
func take(w http.ResponseWriter, r *http.Request, v any) bool {
	if t := r.Header.Get("Content-Type"); t != "application/json" {
		http.Error(w, fmt.Sprintf("Content-Type is %q, not application/json", t), http.StatusUnsupportedMediaType)
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCall))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.Decode(new(json.RawMessage)) != io.EOF {
		err = fmt.Errorf("more than one document")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return err == nil
}

func (i *Inspector) serveCall(w http.ResponseWriter, r *http.Request) {
	var c Call
	if !take(w, r, &c) {
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it takes as long as the call
	a, err := i.Call(r.Context(), c)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, a)
}

func (i *Inspector) serveListen(w http.ResponseWriter, r *http.Request) {
	var l Listen
	if !take(w, r, &l) {
		return
	}
	s := newStream(w, r)
	defer s.close()
	if err := i.Listen(s.ctx, l, s.begin, func(m Said) bool { return s.line(m) }); err != nil {
		s.fail(err)
	}
}

func (i *Inspector) serveEvents(w http.ResponseWriter, r *http.Request) {
	last := 0
	if text := r.URL.Query().Get("last"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			http.Error(w, fmt.Sprintf("last=%q is not a number", text), http.StatusBadRequest)
			return
		}
		last = n
	}
	s := newStream(w, r)
	defer s.close()
	s.begin()
	events := i.Events
	if r.URL.Query().Has("own") {
		events = i.OwnEvents
	}
	events(s.ctx, last, func(e Event) bool { return s.line(e) })
}

// A stream writes lines of JSON, and an empty one now and then. Each is written at once;
// who reads slowly holds up who writes, not more.
type stream struct {
	ctx    context.Context
	cancel context.CancelFunc
	w      http.ResponseWriter
	ctl    *http.ResponseController
	beat   *time.Ticker
	beats  sync.WaitGroup

	mu    sync.Mutex
	begun bool
}

func newStream(w http.ResponseWriter, r *http.Request) *stream {
	s := &stream{w: w, ctl: http.NewResponseController(w), beat: time.NewTicker(beatEvery)}
	s.ctx, s.cancel = context.WithCancel(r.Context())
	return s
}

// begin sends the header and an empty line.
func (s *stream) begin() {
	s.w.Header().Set("Content-Type", "application/x-ndjson")
	s.w.Header().Set("Cache-Control", "no-store")
	s.w.Header().Set("X-Content-Type-Options", "nosniff")
	s.write([]byte{'\n'})
	s.beats.Go(func() { // until the stream is closed
		for {
			select {
			case <-s.beat.C:
				s.write([]byte{'\n'})
			case <-s.ctx.Done():
				return
			}
		}
	})
}

// line writes a value, and reports whether more may follow.
func (s *stream) line(v any) bool {
	b, err := json.Marshal(v)
	if err != nil {
		return true // of no use to anybody
	}
	return s.write(append(b, '\n'))
}

func (s *stream) write(b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
	_ = s.ctl.SetWriteDeadline(time.Now().Add(beatEvery)) // a reader that is stuck ends
	_, err := s.w.Write(b)
	if err == nil {
		err = s.ctl.Flush()
	}
	if err != nil {
		s.cancel()
	}
	return err == nil
}

// fail tells why there is no stream, where none has begun.
func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun {
		http.Error(s.w, err.Error(), http.StatusBadRequest)
	}
}

func (s *stream) close() {
	s.cancel()
	s.beat.Stop()
	s.beats.Wait()
}
