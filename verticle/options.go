package verticle

import (
	"errors"
	"fmt"
	"log/slog"
)

// Option configures one deployment; see [Deploy].
type Option interface{ apply(*config) error }

type config struct {
	name    string
	logger  *slog.Logger
	restart *Restart
	events  func(Event)
	number  int // of the instance, from 1
}

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

// WithName names the deployment, in its ID and its log. The default is the
// verticle's type with its package, "web.Server", or for a [Func] the function. Those
// of [Instances] have a number behind it. Names need not be unique, but must not be empty.
func WithName(name string) Option {
	return optionFunc(func(c *config) error {
		if name == "" {
			return errors.New("verticle: WithName with an empty name")
		}
		c.name = name
		return nil
	})
}

// WithLogger sets where the deployment logs, and what [Deployment.Logger] is
// made of. The default is the parent's, and for a deployment without parent that of
// its bus.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c *config) error {
		if l == nil {
			return errors.New("verticle: WithLogger with a nil logger")
		}
		c.logger = l
		return nil
	})
}

// configure applies the options to the defaults.
func configure(c config, opts []Option) (config, error) {
	for _, o := range opts {
		if o == nil {
			return c, errors.New("verticle: nil Option")
		}
		if err := o.apply(&c); err != nil {
			return c, err
		}
	}
	if c.number > 0 {
		c.name = fmt.Sprintf("%s#%d", c.name, c.number)
	}
	return c, nil
}
