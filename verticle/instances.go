package verticle

import (
	"context"
	"errors"
	"fmt"
)

// Instances returns a verticle of n others, each with a turn of its own: where
// one cannot keep up, or waits. make returns a new value at each call, which is
// deployed as a child with the options; they start one after the other, and their
// consumers at one address get its messages in turns.
//
// If one fails to start the others are undeployed, and Deploy returns its error.
// If one fails later it takes the others with it, unless its options have it
// restarted ([WithRestart]): then it is, alone. An option of the same kind at the
// deployment of what Instances returns restarts all of them, with new values. n
// below 1, a nil make, and a nil value are errors of Deploy; so is a value that
// was there before ([ErrDeployed]).
func Instances(n int, make func() Verticle, opts ...Option) Verticle {
	return instances{n, make, opts}
}

type instances struct {
	n    int
	make func() Verticle
	opts []Option
}

func (i instances) check() error {
	switch {
	case i.n < 1:
		return fmt.Errorf("verticle: Instances of %d verticles; it must be at least 1", i.n)
	case i.make == nil:
		return errors.New("verticle: Instances with a nil function")
	}
	return nil
}

// numbered says which of the instances a deployment is.
func numbered(n int) Option {
	return optionFunc(func(c *config) error {
		c.number = n
		return nil
	})
}

// Start deploys them.
func (i instances) Start(ctx context.Context, d *Deployment) error {
	for k := range i.n {
		opts := append(i.opts[:len(i.opts):len(i.opts)], numbered(k+1))
		if _, err := d.Deploy(ctx, i.make(), opts...); err != nil {
			return fmt.Errorf("instance %d of %d: %w", k+1, i.n, err)
		}
	}
	return nil
}

// Stop does nothing: they are undeployed already.
func (i instances) Stop(context.Context) error { return nil }
