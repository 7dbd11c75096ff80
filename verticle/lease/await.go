package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runrig-go/runrig/bus"
)

// Await calls call, which sends to a singleton or asks it, and calls it again for as
// long as it returns [bus.ErrNoConsumer], by which nobody has handled the message: so
// it waits where there is none between two holders. It returns what else call
// returns or, when ctx ends, the last error and why ctx ended.
//
//	err := lease.Await(ctx, func() error { return eb.Send(ctx, "scheduler", job) })
func Await(ctx context.Context, call func() error) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		err := call()
		if !errors.Is(err, bus.ErrNoConsumer) {
			return err
		}
		sleep(ctx, jitter(pause))
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}
