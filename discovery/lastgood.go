package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/runrig-go/runrig/discovery/internal/guard"
)

// LastGood returns a Provider that answers, when p fails, what p answered last,
// however long ago: nodes that were there may still be, and an address where
// nobody is does no harm. When p has not answered yet, or its last answer was
// empty, the failure is an error as before. It is logged when an old answer
// begins to be used, and when that is over; a nil log means slog.Default().
//
// A node remembers those it has met by itself, so that it needs this only to
// find others that started shortly before its discovery began to fail. If p is
// an [Identifier], so is the result.
func LastGood(p Provider, log *slog.Logger) Provider {
	if isNil(p) {
		return failing(fmt.Errorf("discovery: LastGood: the provider is nil (%T)", p))
	}
	kept := &lastGood{provider: p, log: guard.Logger(log)}
	return identified(kept.peers, []Provider{p})
}

type lastGood struct {
	provider Provider
	log      *slog.Logger

	mu    sync.Mutex
	last  []string
	stale bool // last was used instead of a fresh answer
}

func (l *lastGood) peers(ctx context.Context) ([]string, error) {
	list, err := askOne(ctx, l.provider)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		if l.stale {
			l.log.Info("discovery answers again", "peers", len(list))
		}
		l.last, l.stale = slices.Clone(list), false
		return list, nil
	}
	if len(l.last) == 0 {
		return nil, err
	}
	if !l.stale {
		l.log.Warn("discovery could not be asked; its last answer is used", append(guard.Stack(err), "peers", len(l.last), "err", err)...)
	}
	l.stale = true
	return slices.Clone(l.last), nil
}
