package dashboard

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// Bounds of what may be tried.
const (
	maxWait    = 30 * time.Second
	maxWatches = 16
	watchRate  = 50 // messages a second that a watch shows, of each second the first ones
)

// serveCall has the node send a message.
func (h *handler) serveCall(w http.ResponseWriter, r *http.Request) {
	var c inspect.Call
	if !take(w, r, &c) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * maxWait))
	a, err := h.from.call(ctx, c)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, a)
}

// A heard is a line of a watch.
type heard struct {
	Message *inspect.Said `json:"message,omitempty"`
	Skipped int           `json:"skipped,omitempty"` // messages before it that are not shown, as there were too many
}

// serveWatch sends what is heard at an address, a line each.
func (h *handler) serveWatch(w http.ResponseWriter, r *http.Request) {
	var l inspect.Listen
	if !take(w, r, &l) {
		return
	}
	select {
	case h.watches <- struct{}{}:
		defer func() { <-h.watches }()
	default:
		fail(w, http.StatusServiceUnavailable)
		return
	}
	s := &watch{w: w, ctl: http.NewResponseController(w)}
	if err := h.from.listen(r.Context(), l, s.begin, s.hear); err != nil && !s.begun {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// A watch writes what is heard.
type watch struct {
	w   http.ResponseWriter
	ctl *http.ResponseController

	mu      sync.Mutex // messages may come before the watch has begun
	begun   bool
	second  int64 // of the clock
	shown   int   // in it
	skipped int   // since the last one that was shown
}

// begin sends the header and an empty line.
func (s *watch) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginLocked()
}

func (s *watch) beginLocked() {
	if s.begun {
		return
	}
	s.begun = true
	s.w.Header().Set("Content-Type", "application/x-ndjson")
	s.w.Header().Set("Cache-Control", "no-store")
	s.write([]byte("\n"))
}

// hear shows a message, unless there were too many in this second.
func (s *watch) hear(m inspect.Said) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginLocked()
	if now := time.Now().Unix(); now != s.second {
		s.second, s.shown = now, 0
	}
	if s.shown++; s.shown > watchRate {
		s.skipped++
		return true
	}
	line, err := json.Marshal(heard{&m, s.skipped})
	s.skipped = 0
	return err == nil && s.write(append(line, '\n'))
}

func (s *watch) write(b []byte) bool {
	_ = s.ctl.SetWriteDeadline(time.Now().Add(slowest))
	_, err := s.w.Write(b)
	return err == nil && s.ctl.Flush() == nil
}
