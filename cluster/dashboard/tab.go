package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// MaxTabs is how many pages one handler serves at once.
const MaxTabs = 200

// Bounds of a tab.
const (
	beatEvery = 15 * time.Second // a line that says nothing, so that both ends notice when the other is gone
	slowest   = 15 * time.Second // in which a tab must have read what it was sent
)

// A tab is a page that somebody looks at. What waits for it is one state of the
// cluster, and some events: of a tab that reads slowly, older ones are dropped.
type tab struct {
	more chan struct{}

	mu     sync.Mutex
	frame  []byte // the newest that it has not got
	events []inspect.Event
	afresh bool // it is to forget the events of before
}

func newTab() *tab { return &tab{more: make(chan struct{}, 1)} }

func (t *tab) show(frame []byte) {
	t.change(func() { t.frame = frame })
}

func (t *tab) tell(events []inspect.Event) {
	if len(events) > 0 {
		t.change(func() { t.events = lastOf(append(t.events[:len(t.events):len(t.events)], events...)) })
	}
}

func (t *tab) forget() {
	t.change(func() { t.events, t.afresh = nil, true })
}

func (t *tab) change(f func()) {
	t.mu.Lock()
	f()
	t.mu.Unlock()
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// take returns what the tab is to be sent.
func (t *tab) take() (text []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.afresh || len(t.events) > 0 {
		told := struct {
			Afresh bool            `json:"afresh,omitempty"`
			Events []inspect.Event `json:"events"`
		}{t.afresh, append([]inspect.Event{}, t.events...)}
		data, _ := json.Marshal(told) // plain types
		text = message("events", data)
	}
	text = append(text, t.frame...)
	t.frame, t.events, t.afresh = nil, nil, false
	return text
}

// message is one event of a stream, of JSON, which has no line breaks.
func message(kind string, data []byte) []byte {
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, data)
}

// serve sends a tab what happens, until it is closed.
func (s *sampler) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		return
	}
	t := newTab()
	if !s.join(t) {
		http.Error(w, fmt.Sprintf("%d pages are open already; close one", MaxTabs), http.StatusServiceUnavailable)
		return
	}
	defer s.leave(t)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	ctl := http.NewResponseController(w)
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for text := message("hello", []byte("{}")); ; {
		_ = ctl.SetWriteDeadline(time.Now().Add(slowest)) // where that cannot be set, the server's own holds
		if _, err := w.Write(text); err != nil || ctl.Flush() != nil {
			return
		}
		select {
		case <-t.more:
			text = t.take()
		case <-beat.C:
			text = []byte(":\n\n")
		case <-r.Context().Done():
			return
		}
	}
}
