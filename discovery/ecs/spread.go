package ecs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	spreadFrom = 25                    // tasks; fewer fit into the account's burst if all start at once
	spreadEach = 20 * time.Millisecond // for each task
	spreadMost = 5 * time.Second
)

// spread waits a random time before the first description of many tasks, since
// they may all have started at the same moment and ask the same.
func (p *Provider) spread(ctx context.Context, tasks int) error {
	if p.polls.Load() > 0 || tasks < spreadFrom {
		return nil
	}
	most := min(spreadMost, time.Duration(tasks)*spreadEach)
	switch err := p.sleep(ctx, rand.N(most)); {
	case errors.Is(err, errSlow):
		return fmt.Errorf("%w: waiting to describe %d tasks: %w", ErrTemporary, tasks, err)
	case err != nil:
		return fmt.Errorf("ecs: waiting to describe %d tasks: %w", tasks, err)
	}
	return nil
}
