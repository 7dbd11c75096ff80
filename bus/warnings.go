package bus

import (
	"log/slog"
	"sync"
	"time"
)

// warnings keeps a log readable: it lets one warning of a kind pass each second,
// with the number of those that it kept back.
type warnings struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[string]*warning // by message, of which there are few
}

type warning struct {
	at   time.Time
	kept int
}

func (s *warnings) warn(msg string, args ...any) {
	s.mu.Lock()
	k := s.last[msg]
	if k == nil {
		if s.last == nil {
			s.last = map[string]*warning{}
		}
		k = &warning{}
		s.last[msg] = k
	}
	now := time.Now()
	if now.Sub(k.at) < time.Second {
		k.kept++
		s.mu.Unlock()
		return
	}
	kept := k.kept
	k.at, k.kept = now, 0
	s.mu.Unlock()
	if kept > 0 {
		args = append(args, "kept_back", kept)
	}
	s.log.Warn(msg, args...)
}
