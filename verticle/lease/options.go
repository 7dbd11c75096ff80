package lease

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/runrig-go/runrig/verticle/internal/guard"
)

// Bounds and defaults of a lease's times.
const (
	defaultTTL = 10 * time.Second
	minTTL     = time.Second
	maxTTL     = 24 * time.Hour
)

// Option sets something of a lease.
type Option interface{ apply(*config) error }

type config struct {
	ttl      time.Duration
	margin   time.Duration // 0: a quarter of ttl
	poll     time.Duration // 0: as newConfig says
	label    string
	revision string
	log      *slog.Logger
	clock    clock
}

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

// WithTTL sets how long a lease stays its holder's after it was last renewed: 10
// s by default, from 1 s to a day. The holder renews it each third of that. The
// shorter it is, the sooner another takes over from a holder that crashed, and
// the more the store has to write.
func WithTTL(ttl time.Duration) Option {
	return optionFunc(func(c *config) error {
		if ttl < minTTL || ttl > maxTTL {
			return fmt.Errorf("lease: WithTTL(%v): it must be from %v to %v", ttl, minTTL, maxTTL)
		}
		c.ttl = ttl.Truncate(time.Millisecond)
		return nil
	})
}

// WithMargin sets how long before the lease can end the holder's context ends: a
// quarter of the ttl by default, at most half of it. In that time the holder's
// function must return. It also covers clocks that run at different speeds.
func WithMargin(margin time.Duration) Option {
	return optionFunc(func(c *config) error {
		if margin <= 0 {
			return fmt.Errorf("lease: WithMargin(%v): it must be positive", margin)
		}
		c.margin = margin
		return nil
	})
}

// WithPoll sets how often one who waits for a lease reads the store, where the
// store cannot watch ([Watcher]): each tenth of the ttl by default, and each ttl
// in a [Singleton], which the bus tells when to look.
func WithPoll(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		if d < 10*time.Millisecond {
			return fmt.Errorf("lease: WithPoll(%v): it must be 10 ms at least", d)
		}
		c.poll = d
		return nil
	})
}

// WithLabel sets who the holder says it is, in the store, for whoever looks there; by
// default the host's name and the process's id. It has no other meaning.
func WithLabel(label string) Option {
	return optionFunc(func(c *config) error {
		if len(label) > MaxName {
			return fmt.Errorf("lease: WithLabel of %d bytes; the limit is %d", len(label), MaxName)
		}
		c.label = label
		return nil
	})
}

// WithRevision says which revision of the program this is, for a [Singleton]:
// when a holder goes, those of the newest revision among the standbys that the
// bus links with it come first. So a rolling deployment moves the singleton once.
// Revisions that are both decimal numbers are compared as such, others as text.
func WithRevision(revision string) Option {
	return optionFunc(func(c *config) error {
		if len(revision) > MaxName {
			return fmt.Errorf("lease: WithRevision of %d bytes; the limit is %d", len(revision), MaxName)
		}
		c.revision = revision
		return nil
	})
}

// WithLogger sets where is logged that a lease was lost, and that a store does
// not answer: [slog.Default] by default, and the deployment's logger in a
// [Singleton].
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c *config) error {
		if l == nil {
			return errors.New("lease: WithLogger with a nil logger")
		}
		c.log = l
		return nil
	})
}

// newConfig applies the options to the defaults and checks what they make.
func newConfig(opts []Option) (config, error) {
	c := config{ttl: defaultTTL}
	for _, o := range opts {
		if o == nil {
			return c, errors.New("lease: nil Option")
		}
		if err := o.apply(&c); err != nil {
			return c, err
		}
	}
	if c.margin == 0 {
		c.margin = c.ttl / 4
	}
	if c.margin > c.ttl/2 {
		return c, fmt.Errorf("lease: WithMargin(%v) is over half of the ttl of %v", c.margin, c.ttl)
	}
	if c.label == "" {
		host, _ := os.Hostname()
		c.label = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	return c, nil
}

// checkStore refuses a store that is nil, also in an interface.
func checkStore(s Store) error {
	switch {
	case s == nil:
		return errors.New("lease: nil Store")
	case guard.IsNil(s):
		return fmt.Errorf("lease: nil %T as Store", s)
	}
	return nil
}
