package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/runrig-go/runrig/cluster/internal/wire"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/internal/guard"
)

const (
	seekLeast  = 500 * time.Millisecond // between questions to discovery, while nobody was reached
	seekMost   = 5 * time.Second
	seekSlowly = 30 * time.Second // when joined, at least; a second for each member if that is more
	seekYoung  = time.Minute      // how long a new node does not believe that it is alone: lists lag behind
	fewAtOnce  = 3                // nodes to join in one round
	askAtOnce  = 8                // addresses that are tried at the same time

	// moreAnswers is how long others may take when one address has answered.
	moreAnswers = 250 * time.Millisecond
)

// A seeker keeps asking discovery, for as long as the node lives, and joins who
// is found and not among the living.
type seeker struct {
	provider discovery.Provider
	gossip   *serf.Serf
	port     *port
	counts   *counters
	own      wire.Greeting
	log      *slog.Logger
	roster   *roster
	refused  func(*RefusedError)
	joining  func()             // is told before and after others are joined
	round    func(settled bool) // is told after each round

	// The goroutine's own.
	began time.Time
	ever  bool                    // joined anybody yet
	alone bool                    // said that nobody was reached
	said  failure                 // of discovery, the worst since it answered last
	mine  map[netip.AddrPort]bool // addresses that turned out to be this node's
	pause backoff
	asked chan answered // a question to discovery that has not been answered yet
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
	s.mine = map[netip.AddrPort]bool{}
	s.pause = backoff{least: seekLeast, most: seekMost}
	for ctx.Err() == nil {
		again, settled := s.seek(ctx)
		s.round(settled)
		if again {
			pause(ctx, s.pause.next())
			continue
		}
		s.pause.reset()
		pause(ctx, slowly(len(s.roster.living())))
	}
}

// slowly is how long a node that has no need waits before it asks again, so that
// all nodes together ask about once a second, however many they are.
func slowly(members int) time.Duration {
	return jitter(max(seekSlowly, time.Duration(members)*time.Second), 0.2)
}

// seek is one round. It reports whether the next one should come soon, and
// whether all that discovery told of were reached.
func (s *seeker) seek(ctx context.Context) (again, settled bool) {
	clear(s.mine) // an address may lead elsewhere the next time
	found, err := s.peers(ctx)
	if ctx.Err() != nil {
		return false, false
	}
	s.note(err)
	strangers := s.strangers(found)
	if len(strangers) > 0 {
		s.join(ctx, strangers)
	}
	settled = err == nil && (s.together() || len(s.strangers(found)) == 0)
	return !s.together() && s.hopes(failureOf(err), settled), settled
}

// hopes reports whether a node that is with nobody should ask again soon. That
// nobody else is there it believes only when it has run for a while.
func (s *seeker) hopes(f failure, settled bool) bool {
	switch f {
	case none:
		return !settled || time.Since(s.began) < seekYoung
	case lasting:
		return false
	}
	return true
}

// join joins those of the strangers that answer.
func (s *seeker) join(ctx context.Context, strangers []netip.AddrPort) {
	answering, problems := s.tryAll(ctx, strangers)
	if len(answering) > 0 {
		s.joining()
		if err := joinGossip(s.gossip, !s.ever, answering); err != nil {
			problems = append(problems, err)
		} else {
			s.ever = true
			s.joining()
		}
	}
	s.report(ctx, strangers, problems)
}

// together reports whether anybody else is among the living.
func (s *seeker) together() bool { return s.gossip.Memberlist().NumMembers() > 1 }

// peers asks discovery and resolves names. With an error it may return those
// that could be.
func (s *seeker) peers(ctx context.Context) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	list, err := s.ask(ctx)
	if err != nil {
		return nil, err
	}
	var found []netip.AddrPort
	var errs []error
	for _, addr := range list {
		got, err := resolve(ctx, addr)
		if err != nil {
			errs = append(errs, err)
		}
		found = append(found, got...)
	}
	return found, errors.Join(errs...)
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

// resolve turns "host:port" into addresses.
func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}, nil
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("discovery told %q, which is not \"host:port\": %w", addr, err)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, fmt.Errorf("discovery told %q: %w", addr, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("discovery told %q: %w", addr, err)
	}
	var all []netip.AddrPort
	for _, ip := range ips {
		all = append(all, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return all, nil
}

// note logs that discovery failed, if it did: at once, then in quiet repeats.
func (s *seeker) note(err error) {
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

// strangers are the addresses that are neither this node's nor of the living.
// The first round keeps discovery's order, in which established members come
// first; later ones shuffle, so that dead addresses do not hide others.
func (s *seeker) strangers(found []netip.AddrPort) []netip.AddrPort {
	living := s.roster.living()
	var list []netip.AddrPort
	seen := map[netip.AddrPort]bool{}
	for _, a := range found {
		if !seen[a] && !s.mine[a] && !living[a.String()] {
			list = append(list, a)
		}
		seen[a] = true
	}
	if s.ever || s.alone {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return list
}

// tryAll asks strangers who they are, some at a time, until enough have answered
// as nodes of this cluster.
func (s *seeker) tryAll(ctx context.Context, strangers []netip.AddrPort) (answering []netip.AddrPort, problems []error) {
	for len(strangers) > 0 && len(answering) == 0 && ctx.Err() == nil {
		batch := strangers[:min(askAtOnce, len(strangers))]
		strangers = strangers[len(batch):]
		got, failed := s.tryBatch(ctx, batch)
		answering, problems = append(answering, got...), append(problems, failed...)
	}
	return answering, problems
}

// tried is what became of one address.
type tried struct {
	addr netip.AddrPort
	err  error
}

// tryBatch asks all of a batch at once. When one has answered it waits for others
// a moment only: an address that is silent shall not hold up the node.
func (s *seeker) tryBatch(ctx context.Context, batch []netip.AddrPort) (answering []netip.AddrPort, problems []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan tried, len(batch))
	for _, a := range batch {
		go func() { results <- tried{a, s.try(ctx, a)} }() // ends with ctx; received below
	}
	for range batch {
		r := <-results
		switch {
		case r.err == nil && len(answering) < fewAtOnce:
			answering = append(answering, r.addr)
			time.AfterFunc(moreAnswers, cancel)
		case errors.Is(r.err, ErrSelf):
			s.mine[r.addr] = true
		case r.err != nil && ctx.Err() == nil:
			problems = append(problems, fmt.Errorf("%v: %w", r.addr, r.err))
		}
		if len(answering) == fewAtOnce {
			cancel()
		}
	}
	return answering, problems
}

// try asks who is at addr, with a HELLO that is only a question. Nil means a
// node of this cluster.
func (s *seeker) try(ctx context.Context, addr netip.AddrPort) error {
	c, _, err := ask(ctx, s.port, addr, s.own)
	if c != nil {
		_ = c.Close() // against the protocol
	}
	switch refused := new(RefusedError); {
	case errors.Is(err, ErrStale):
		return nil // the answer to a question
	case errors.As(err, &refused) && misconfigured(err):
		s.refused(refused)
	}
	return err
}

// report says once that discovery told of others but none was reached, and once
// that this is over.
func (s *seeker) report(ctx context.Context, strangers []netip.AddrPort, problems []error) {
	switch {
	case ctx.Err() != nil:
	case s.together() || s.ever && len(problems) == 0:
		s.alone = false
	case len(problems) == 0: // all were this node itself
	case !s.alone:
		s.alone = true
		s.log.Warn("no other node reached; trying on", "addresses", text(strangers), "err", errors.Join(problems...))
	default:
		s.log.Debug("no other node reached; trying on", "err", errors.Join(problems...))
	}
}

func text(addrs []netip.AddrPort) string {
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return strings.Join(list, " ")
}
