package rehearsal

import (
	"fmt"
	"slices"
	"time"
)

const (
	holdTime    = time.Second      // between two replacements, in which the stream just runs
	deployLimit = 28 * time.Second // after which a deployment is given up, so that all ends within 45 s
)

// rollout is a rolling deployment: for each task of the old revision a new one
// is started, and when that is healthy the old one is stopped, as ECS does with
// a minimum of 100 % healthy and a maximum of 150 % for three.
type rollout struct {
	begun bool
	old   []*task          // those that are still to go
	pause <-chan time.Time // until then nothing is done
	limit <-chan time.Time
}

// startedBy is what ECS notes of a task: the deployment that it belongs to.
func (o *rollout) startedBy() string {
	if o.begun {
		return "ecs-svc/2"
	}
	return "ecs-svc/1"
}

// revision is that of the program which is rolled out.
func (o *rollout) revision() int {
	if o.begun {
		return 2
	}
	return 1
}

// roll takes the next step of the deployment, if it is time, and reports
// whether all is done.
func (r *rehearsal) roll() (done bool) {
	o := &r.rollout
	switch {
	case !o.begun:
		if r.allUp() {
			o.begun, o.old = true, slices.Clone(r.tasks)
			o.pause = time.After(r.cfg.hold)
			r.say("all tasks are up: the stream runs, and the deployment begins")
		}
	case o.pause != nil:
	case len(o.old) == 0:
		return true
	default:
		r.rollOn(o.old[0])
	}
	return false
}

// rollOn replaces one task.
func (r *rehearsal) rollOn(old *task) {
	switch {
	case !slices.Contains(r.tasks, old):
		r.rollout.old = r.rollout.old[1:]
		r.rollout.pause = time.After(r.cfg.hold)
	case old.leaving:
	case len(r.tasks) == r.cfg.Tasks:
		r.replace()
	case r.allUp():
		r.say("its replacement is healthy: SIGTERM to %v, pid %d", old, old.cmd.Process.Pid)
		r.dismiss(old)
	}
}

// deploymentProblems says what must not be seen in a deployment, beside the
// losses of greetings.
func (r *rehearsal) deploymentProblems() []string {
	all := r.tally.streamLosses()
	switch {
	case !r.rollout.begun:
		all = append(all, "the deployment did not begin")
	case len(r.rollout.old) > 0:
		all = append(all, fmt.Sprintf("tasks that were not replaced: %d", len(r.rollout.old)))
	}
	for _, name := range r.killed {
		all = append(all, name+" was killed")
	}
	if n := r.counted; n > 2 {
		all = append(all, fmt.Sprintf("the counter of health checks was started %d times; want once, and once more when its task leaves", n))
	}
	return all
}

func (r *rehearsal) explainDeployment(addresses string) {
	fmt.Fprintf(r.cfg.Out, `This process is not an ECS task, so it rehearses a rolling deployment: a fake of the ECS
API, and tasks (%d) as child processes of this program, %s.
Each task sends and requests all the time, some hundred messages a second, to all tasks.
Meanwhile each task is replaced as ECS does it: a new one is started; when it is healthy
the old one gets SIGTERM. What became of all messages is shown in the end.

`, r.cfg.Tasks, addresses)
}
