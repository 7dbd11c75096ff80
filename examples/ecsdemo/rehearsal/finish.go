package rehearsal

import (
	"cmp"
	"errors"
	"strings"
	"time"
)

// fail ends the rehearsal.
func (r *rehearsal) fail(why string) {
	r.problems = append(r.problems, why)
	r.ending = true
}

// finish ends the health checks, waits for what is on its way, and stops all
// tasks at once, gracefully.
func (r *rehearsal) finish() {
	r.ending = true
	r.counted = r.tally.counterStarts() // the last of the tasks to stop have it in turn
	var names []string
	for _, t := range r.tasks {
		t.unwatch()
		t.calm()
		if t.up && !t.leaving {
			names = append(names, t.place.name())
		}
	}
	r.watching.Wait()
	r.tally.ending(names, time.Now())
	r.settle()
	r.say("stopping %d tasks", len(r.tasks))
	for _, t := range r.tasks {
		if !t.leaving {
			r.dismiss(t)
		}
	}
	for len(r.tasks) > 0 {
		(<-r.events)()
	}
}

// settle waits until all that was sent is received.
func (r *rehearsal) settle() {
	timeout := time.After(settleTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !r.tally.settled() {
		select {
		case <-tick.C:
		case event := <-r.events:
			event()
		case <-timeout:
			return
		}
	}
}

// verdict is what Run returns. Where a task was killed, what it had taken is
// lost, and that is no failure.
func (r *rehearsal) verdict() error {
	problems, losses := append(r.problems, r.tally.faults()...), r.tally.losses(r.cfg.Lossy)
	if r.cfg.Deploy {
		problems = append(problems, r.deploymentProblems()...)
	}
	if len(r.killed) == 0 || r.cfg.Deploy {
		problems = append(problems, losses...)
	} else {
		r.say("killed: %s. Lost with it, which is no failure: %s", strings.Join(r.killed, ", "), cmp.Or(strings.Join(losses, "; "), "nothing"))
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	r.say("all that was sent is accounted for")
	return nil
}
