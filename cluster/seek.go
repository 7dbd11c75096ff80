package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster/internal/guard"
	"github.com/runrig-go/runrig/cluster/internal/wire"
	"github.com/runrig-go/runrig/discovery"
)

const (
	seekLeast  = 500 * time.Millisecond // between questions to discovery, while nobody was reached
	seekMost   = 5 * time.Second
	seekSlowly = 30 * time.Second // when joined, at least; a second for each member if that is more
	askAgain   = time.Second      // at the soonest, however often discovery's answer changes
	seekYoung  = time.Minute      // how long a new node does not believe that it is alone: lists lag behind
	missesTold = 5 * time.Second  // how long nobody is reached before that is told: the others may be starting, too
)

// A seeker keeps asking discovery, for as long as the node lives, and joins who
// is found and not among the living. It asks those that failed, too.
type seeker struct {
	provider discovery.Provider // nil: nobody is asked
	gossip   *serf.Serf
	port     *port
	counts   *counters
	own      wire.Greeting
	log      *slog.Logger
	roster   *roster
	wake     <-chan struct{} // somebody has failed
	changed  <-chan struct{} // discovery's answer may be another one
	news     seekerNews

	// The goroutine's own.
	began    time.Time
	next     time.Time // to ask discovery
	last     time.Time // when it was asked last
	ever     bool      // joined anybody yet
	missing  time.Time // since when each round has reached nobody; zero: the last one did not miss anybody
	missed   error     // why the last round reached nobody; nil: it did not miss anybody
	missTold bool      // that has been told
	said     failure   // of discovery, the worst since it answered last
	failed   error     // of the last question to discovery, and of names
	blind    bool      // which may hide somebody
	told     []named   // what discovery told last
	names    names
	spots    map[netip.AddrPort]*spot
	pause    backoff
	silences sometimes
	asked    chan answered // a question to discovery that has not been answered yet
}

// seekerNews is who hears of what a seeker finds. Its methods must not block.
type seekerNews interface {
	refused(*RefusedError)
	eagerly()          // others will be joined, or have been
	occupied(bus.Peer) // another node answers at the own address
	trouble(kind string, err error)
	roundDone(outlook)
	Serving() bool
}

// answered is discovery's answer.
type answered struct {
	list []string
	err  error
}

// failure is how discovery failed.
type failure uint8

const (
	none    failure = iota
	passing         // it may answer the next time
	lasting         // it will not until somebody changes something
)

func failureOf(err error) failure {
	switch {
	case err == nil:
		return none
	case discovery.IsMisconfigured(err):
		return lasting
	}
	return passing
}

// run is the seeker's goroutine; it ends with ctx.
func (s *seeker) run(ctx context.Context) {
	s.began = time.Now()
	s.spots = map[netip.AddrPort]*spot{}
	s.pause = backoff{least: seekLeast, most: seekMost}
	for ctx.Err() == nil {
		s.seek(ctx)
		s.rest(ctx)
	}
	// Others may have found this node since the last round.
	if !s.ever && s.missed != nil && !s.missTold && s.outlook() == missed { // a program that is soon at its end
		s.log.Warn("no other node was reached", "err", s.missed)
	}
}

// seek is one round: discovery is asked, if it is time, and who should be there
// and is not among the living.
func (s *seeker) seek(ctx context.Context) {
	asks := s.provider != nil && !time.Now().Before(s.next)
	found := s.known()
	if asks {
		found = s.question(ctx)
	}
	w := sweep{seeker: s, ctx: ctx, fresh: asks}
	w.run(found)
	if ctx.Err() != nil {
		return
	}
	if asks {
		s.told, s.blind = w.told, s.failed != nil || w.blind
		s.failed = errors.Join(s.failed, w.failed)
		s.note(s.failed)
	}
	o := s.outlook()
	if w.joined {
		o = reached
	}
	s.report(o, w.problems)
	s.news.roundDone(o)
	if asks {
		s.plan(o)
	}
}

// plan sets when discovery is asked next.
func (s *seeker) plan(o outlook) {
	wait := slowly(s.roster.company().alive + 1)
	if o != reached && s.hopes(o) {
		wait = s.pause.next()
	} else {
		s.pause.reset()
	}
	s.next = time.Now().Add(wait)
}

// slowly is how long a node that has no need waits before it asks again, so that
// all nodes together ask about once a second, however many they are.
func slowly(members int) time.Duration {
	return jitter(max(seekSlowly, time.Duration(members)*time.Second), 0.2)
}

// hopes reports whether a node that is with nobody should ask again soon. That
// nobody else is there it believes only when it has run for a while.
func (s *seeker) hopes(o outlook) bool {
	switch failureOf(s.failed) {
	case none:
		return o != vacant || s.young()
	case lasting:
		return false
	}
	return true
}

func (s *seeker) young() bool { return time.Since(s.began) < seekYoung }

// rest waits until it is time for the next round. A node that is with nobody
// asks all again when it asks discovery.
func (s *seeker) rest(ctx context.Context) {
	next := s.nextDue()
	if s.provider != nil && (next.IsZero() || s.next.Before(next)) {
		next = s.next
	}
	timer := time.NewTimer(max(time.Until(next), askMoreAt))
	defer timer.Stop()
	tick := timer.C
	if next.IsZero() {
		tick = nil
	}
	select {
	case <-tick:
	case <-s.wake:
		if s.roster.company().alive == 0 {
			s.pause.reset()
			s.next = time.Now()
		}
	case <-s.changed:
		if s.next = time.Now(); s.next.Before(s.last.Add(askAgain)) {
			s.next = s.last.Add(askAgain)
		}
	case <-ctx.Done():
	}
}

// known returns what discovery told last.
func (s *seeker) known() <-chan named {
	all := make(chan named, len(s.told))
	for _, n := range s.told {
		all <- n
	}
	close(all)
	return all
}

// question asks discovery and has names resolved.
func (s *seeker) question(ctx context.Context) <-chan named {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s.last = time.Now()
	list, err := s.ask(asking)
	s.failed = err
	if err != nil {
		return s.known()
	}
	if s.ever || !s.missing.IsZero() {
		// The first round keeps discovery's order, in which established members
		// come first; later ones shuffle, so that dead addresses hide no others.
		list = append([]string(nil), list...)
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return s.names.resolve(ctx, list)
}

// ask asks discovery, one question at a time.
func (s *seeker) ask(ctx context.Context) ([]string, error) {
	if s.asked == nil {
		done := make(chan answered, 1)
		s.asked = done
		go func() { // ends when Peers returns, as it must soon after ctx; a provider that does not holds up nobody
			var a answered
			a.err = guard.Call("Peers", func() (err error) {
				a.list, err = s.provider.Peers(ctx)
				return err
			})
			done <- a
		}()
	}
	select {
	case a := <-s.asked:
		s.asked = nil
		return a.list, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer within %v: %w", askTimeout, ctx.Err())
	}
}

// note logs that discovery failed, if it did: at once, then in quiet repeats.
func (s *seeker) note(err error) {
	s.news.trouble(troubleDiscovery, err)
	f := failureOf(err)
	if f == none {
		s.said = none
		return
	}
	s.counts.discoveryErrors.Add(1)
	level, text := slog.LevelWarn, "discovery could not be asked; trying again"
	if f == lasting {
		level, text = slog.LevelError, "discovery is configured wrongly, which somebody has to mend; trying again slowly"
	}
	if f <= s.said {
		level = slog.LevelDebug
	}
	s.said = max(s.said, f)
	s.log.Log(context.Background(), level, text, append(guard.Stack(err), "err", err)...)
}

// join joins those that have answered.
func (s *seeker) join(answering []netip.AddrPort) error {
	s.news.eagerly()
	if err := joinGossip(s.gossip, !s.ever, answering); err != nil {
		return err
	}
	s.ever = true
	s.news.eagerly()
	return nil
}

// report says that discovery told of others but none was reached, when that has
// lasted for a while, and notes why.
func (s *seeker) report(o outlook, problems []error) {
	if o != missed {
		s.missing, s.missed, s.missTold = time.Time{}, nil, false
		s.news.trouble(troubleSeek, nil)
		return
	}
	if len(problems) == 0 {
		return
	}
	if s.missing.IsZero() {
		s.missing = time.Now()
	}
	s.missed = some(problems)
	s.news.trouble(troubleSeek, fmt.Errorf("no other node reached: %w", s.missed))
	level := slog.LevelDebug
	if !s.missTold && time.Since(s.missing) >= missesTold {
		level, s.missTold = slog.LevelWarn, true
	}
	s.log.Log(context.Background(), level, "no other node reached; trying on", "err", s.missed)
}
