package verticle

import (
	"context"
	"fmt"

	"github.com/runrig-go/runrig/bus"
)

// Run deploys verticles, one after the other, and blocks until ctx ends or one
// of them fails; then it undeploys them all, the last first, and returns when
// they have ended. That takes 10 s and 200 ms at most for all together, as a rule
// far less; the end of ctx does not cut it short.
//
// Run returns nil if ctx has ended, also while a verticle was starting, and all
// were undeployed without an error. Else it returns the error of the verticle
// that failed, to start or later, joined with what went wrong afterwards. When
// the bus is closed under it that is [bus.ErrClosed]: let Run return first, and
// close the bus, or the node, then. Who ends the process by force should allow
// for both: 10 s here, and the bus's drain time (20 s by default) after it. A nil
// verticle is an error before anything is deployed. One that needs options
// has them by [With].
//
// To end a program by a signal, pass the context of [os/signal.NotifyContext].
func Run(ctx context.Context, eb *bus.EventBus, vs ...Verticle) error {
	for i, v := range vs {
		v, _ = apart(v, nil)
		if err := check(v); err != nil {
			return fmt.Errorf("verticle %d of Run: %w", i+1, err)
		}
	}
	all := Func(func(starting context.Context, d *Deployment) error {
		for _, v := range vs {
			if _, err := d.Deploy(starting, v); err != nil {
				return err
			}
		}
		return nil
	})
	d, err := Deploy(ctx, eb, all, WithName("Run"))
	if err != nil {
		if ctx.Err() == nil {
			return err
		}
		return without(err, ctx.Err(), context.Cause(ctx))
	}
	select {
	case <-ctx.Done():
	case <-d.Done():
	}
	return d.Undeploy(context.WithoutCancel(ctx))
}
