// Package rehearsal runs a program as the tasks of an ECS service, on one
// machine and without AWS: it starts a fake of ECS and the tasks as child
// processes of the same binary, checks their health, replaces those that end,
// and counts, from the tasks' own lines, what was sent and what arrived.
//
// A task gets its environment from the fake, and nothing of this process's own.
// Its flags are where to listen (-bind, -http), and -rehearsed, which makes it
// leave when its standard input ends, so that no task outlives the rehearsal.
package rehearsal

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
	"github.com/runrig-go/runrig/examples/ecsdemo/leases"
	"github.com/runrig-go/runrig/verticle/lease"
)

// Config is what may be chosen. All zero but Tasks and Out is the usual run.
type Config struct {
	Tasks  int           // how many are kept running
	For    time.Duration // how long; 0 is until the context ends
	Kill   time.Duration // SIGKILL the oldest task so long after all are up; 0 is never
	Stop   time.Duration // the same with SIGTERM
	Deploy bool          // replace all tasks, one by one, as a rolling deployment does, and end
	Args   []string      // more arguments for the tasks
	Lossy  bool          // that Publish loses a message is no failure
	Bridge bool          // all tasks at 127.0.0.1; so it is anyway where the system has no other address
	Out    io.Writer     // where all lines go
	Screen *Screen       // if Out is a terminal that is to show a table that changes in place

	every time.Duration // between health checks; 0 means healthInterval
	hold  time.Duration // between the replacements of a deployment; 0 means holdTime
}

const (
	maxFailedStarts = 3               // in a row, after which the rehearsal ends
	settleTimeout   = 3 * time.Second // for what is on its way when the health checks end
)

// Run runs the rehearsal until ctx ends or cfg.For is over, stops all tasks
// gracefully and prints what was counted. The error says what went wrong: tasks
// that failed or, in a run in which nobody killed one, messages that were lost
// or could not be sent.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Tasks < 1 {
		return fmt.Errorf("-tasks is %d; it must be at least 1", cfg.Tasks)
	}
	if cfg.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.For)
		defer cancel()
	}
	r, err := newRehearsal(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(r.key) }()
	defer func() { _ = r.fake.Close() }()
	defer r.places.close()
	defer r.closeLeases()
	r.page = openPage(r.secret)
	defer r.page.stop()
	r.explain()
	show := r.show()
	for range cfg.Tasks {
		if err := r.launch(); err != nil {
			r.fail(err.Error())
			break
		}
	}
	r.keepRunning(ctx)
	r.finish()
	show()
	if cfg.Deploy {
		r.tally.printDeployment(cfg.Out)
	} else {
		r.tally.print(cfg.Out, r.label)
	}
	return r.verdict()
}

// rehearsal belongs to the goroutine of Run. Others hand it events.
type rehearsal struct {
	cfg    Config
	fake   *ecstest.Fake
	places *places
	secret string
	key    string // file that has it
	leases string // where the tasks find the store of leases

	closeLeases func()
	page        *page

	tally  *tally
	events chan func() // to be called by Run's goroutine

	watching sync.WaitGroup // for the health checks
	tasks    []*task        // those that run, the oldest first
	started  int            // tasks so far
	failures int            // tasks that ended before they were up, in a row
	killed   []string       // the tasks that ended by a signal
	problems []string
	ending   bool              // nothing is replaced any more
	rollout  rollout           // where a deployment is rehearsed
	counted  uint64            // how often the counter of health checks was started before the end
	labels   map[string]string // by the name of the task

	outMu  sync.Mutex // guards writes to cfg.Out, but for those of the screen
	screen *screen    // nil for lines
}

func newRehearsal(cfg Config) (*rehearsal, error) {
	cfg.every, cfg.hold = cmp.Or(cfg.every, healthInterval), cmp.Or(cfg.hold, holdTime)
	secret := rand.Text() + rand.Text()
	key, err := keep(secret)
	if err != nil {
		return nil, err
	}
	fake, err := ecstest.New(ecstest.Config{})
	if err != nil {
		return nil, errors.Join(err, os.Remove(key))
	}
	url, stop, err := leases.Serve(new(lease.Memory))
	if err != nil {
		return nil, errors.Join(err, fake.Close(), os.Remove(key))
	}
	return &rehearsal{
		cfg:    cfg,
		fake:   fake,
		places: newPlaces(cfg.Bridge),
		secret: secret,
		key:    key,
		tally:  newTally(),
		events: make(chan func()),
		labels: map[string]string{},

		leases: url, closeLeases: stop,
	}, nil
}

// show begins with the table that changes in place, if there is to be one, and
// returns a function that ends it.
func (r *rehearsal) show() (end func()) {
	if r.cfg.Screen == nil {
		return func() {}
	}
	r.screen = newScreen(*r.cfg.Screen, r.cfg.Out)
	done := make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Go(func() { r.screen.run(r.tally, done) })
	return func() {
		close(done)
		drawing.Wait()
		r.screen = nil // all tasks have ended: nobody else uses it
	}
}

// keep writes the secret into a file that only this user can read, for who looks at
// the tasks with the command runrig, and returns its name.
func keep(secret string) (name string, err error) {
	f, err := os.CreateTemp("", "rr*.key") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintln(f, secret)
	return f.Name(), errors.Join(err, f.Close())
}

// look is what shows the tasks in another terminal, by way of these nodes.
func look(key string, nodes ...string) string {
	return fmt.Sprintf("go run ./cluster/runrig members -secret-file %s -node %s", key, strings.Join(nodes, ","))
}

// invite says how to look at the tasks from another terminal, when all are up first.
func (r *rehearsal) invite() {
	if r.screen != nil {
		r.screen.invite(r.key, r.page.url)
		return
	}
	var nodes []string
	for _, t := range r.tasks {
		nodes = append(nodes, t.place.name())
	}
	if r.page.url != "" {
		r.say("see them in a browser: %s", r.page.url)
	}
	r.say("look at them from another terminal (or with top, monitor, check): %s", look(r.key, nodes...))
}

func (r *rehearsal) explain() {
	addresses := "each with an IP of its own"
	if r.places.shared {
		addresses = "all at 127.0.0.1 with ports of their own, as in ECS's bridge mode"
	}
	if r.cfg.Deploy {
		r.explainDeployment(addresses)
		return
	}
	if r.cfg.Screen != nil {
		fmt.Fprintf(r.cfg.Out, `This process is not an ECS task, so it rehearses: a fake of the ECS API, and tasks (%d)
as child processes of this program, %s. Each second each task sends its
IP over the bus: by Send to one PointVerticle, by Publish to the BroadcastVerticle of every
task. "From others" counts what crossed from task to task. (-log shows each message.)

`, r.cfg.Tasks, addresses)
		return
	}
	fmt.Fprintf(r.cfg.Out, `This process is not an ECS task, so it rehearses: a fake of the ECS API, and tasks (%d)
as child processes of this program, %s.

Each task's health is checked every second. At each check its HTTPVerticle sends its own
IP over the bus: to PointVerticle with Send, which one task receives, and to
BroadcastVerticle with Publish, which all tasks receive. Look for lines whose received= is
another IP than their local=: those came from another task (via=link or via=gossip).

Try, in another terminal, with a pid from below:  kill -9 PID  (the others go on, and a
replacement joins),  kill PID  (a graceful leave: nothing lost).  Ctrl-C stops all tasks
and shows who received what.

`, r.cfg.Tasks, addresses)
}

// launch starts a new task at a new place.
func (r *rehearsal) launch() error {
	at, err := r.places.next()
	if err != nil {
		return err
	}
	r.started++
	t := &task{id: r.started, place: at, grace: stopTimeout}
	if r.cfg.Deploy {
		t.grace = deployStopTimeout
	}
	r.tally.add(at.name())
	r.labels[at.name()] = fmt.Sprintf("%v %s", t, at.name())
	described := at.ecs()
	described.StartedBy, described.Revision = r.rollout.startedBy(), r.rollout.revision()
	if t.ecs, err = r.fake.AddTask(described); err != nil {
		return err
	}
	args := append([]string{"-rehearsed", "-bind", at.nodeAddr(), "-http", at.httpAddr()}, r.cfg.Args...)
	line := func(text string) {
		counted := r.tally.line(text)
		switch {
		case r.screen != nil:
			r.screen.line(t.String(), text)
		case !counted || !r.cfg.Deploy:
			r.print(t.String(), text)
		}
	}
	done := func() { r.events <- func() { r.exited(t) } }
	if err := t.start(args, r.environment(t), line, done); err != nil {
		t.ecs.Stop()
		return fmt.Errorf("starting %v: %w", t, err)
	}
	t.ecs.SetStatus("RUNNING")
	r.tasks = append(r.tasks, t)
	r.page.runs(r.tasks)
	if r.screen != nil {
		r.screen.started(t)
	}
	r.watch(t)
	r.say("%v started at %s, pid %d", t, at.name(), t.cmd.Process.Pid)
	return nil
}

// environment is what ECS gives a container, the secret that its task
// definition names, and what the system itself needs; nothing else of this
// process's own environment, so that no AWS setting of the user reaches a task.
func (r *rehearsal) environment(t *task) []string {
	env := append(t.ecs.Env(), "RUNRIG_SECRET="+r.secret, "RUNRIG_LEASES="+r.leases)
	if root, ok := os.LookupEnv("SYSTEMROOT"); ok { // Windows: no network without it
		env = append(env, "SYSTEMROOT="+root)
	}
	return env
}

// watch starts the health checks of t. They end with the task, or with all
// others in finish, which waits for them.
func (r *rehearsal) watch(t *task) {
	ctx, cancel := context.WithCancel(context.Background())
	t.unwatch = cancel
	tell := func(event func()) {
		select {
		case r.events <- event:
		case <-ctx.Done():
		}
	}
	r.watching.Go(func() {
		t.watch(ctx, r.cfg.every, func(h health) {
			r.tally.healthy(t.place.name(), h.Sent, time.Now())
			tell(func() { r.passed(t, h) })
		}, func(err error) {
			tell(func() { r.unhealthy(t, err) })
		})
	})
}

// keepRunning keeps the tasks running until ctx ends.
func (r *rehearsal) keepRunning(ctx context.Context) {
	var kill, stop <-chan time.Time
	armed := false
	if r.cfg.Deploy {
		r.rollout.limit = time.After(deployLimit)
	}
	for !r.ending {
		if r.cfg.Deploy && r.roll() {
			return
		}
		if !armed && r.allUp() {
			armed = true
			r.invite()
			kill, stop = after(r.cfg.Kill), after(r.cfg.Stop)
		}
		select {
		case event := <-r.events:
			event()
		case <-kill:
			r.killOldest()
		case <-stop:
			r.stopOldest()
		case <-r.rollout.pause:
			r.rollout.pause = nil
		case <-r.rollout.limit:
			r.fail(fmt.Sprintf("the deployment is not done after %v", deployLimit))
		case <-ctx.Done():
			return
		}
	}
}

// after is time.After, but never for 0.
func after(d time.Duration) <-chan time.Time {
	if d == 0 {
		return nil
	}
	return time.After(d)
}

func (r *rehearsal) allUp() bool {
	return len(r.tasks) >= r.cfg.Tasks && !slices.ContainsFunc(r.tasks, func(t *task) bool { return !t.up })
}

func (r *rehearsal) passed(t *task, h health) {
	t.up, r.failures = true, 0
	if r.screen != nil {
		r.screen.passed(t, h)
	}
}

func (r *rehearsal) unhealthy(t *task, err error) {
	if t.leaving {
		return
	}
	r.say("%v is unhealthy (%v): it is stopped and replaced", t, err)
	r.problems = append(r.problems, fmt.Sprintf("%v became unhealthy: %v", t, err))
	r.retire(t)
}

func (r *rehearsal) killOldest() {
	if t := r.oldest(); t != nil {
		r.say("SIGKILL to %v, pid %d", t, t.cmd.Process.Pid)
		t.kill()
	}
}

func (r *rehearsal) stopOldest() {
	if t := r.oldest(); t != nil {
		r.say("SIGTERM to %v, pid %d", t, t.cmd.Process.Pid)
		r.retire(t)
	}
}

func (r *rehearsal) oldest() *task {
	i := slices.IndexFunc(r.tasks, func(t *task) bool { return !t.leaving })
	if i < 0 {
		return nil
	}
	return r.tasks[i]
}

// retire stops t and starts its replacement.
func (r *rehearsal) retire(t *task) {
	r.dismiss(t)
	r.replace()
}

// dismiss stops t as ECS does.
func (r *rehearsal) dismiss(t *task) {
	t.ecs.SetStatus("DEACTIVATING")
	if r.screen != nil {
		r.screen.becomes(t, isLeaving)
	}
	t.stop()
}

func (r *rehearsal) replace() {
	if err := r.launch(); err != nil {
		r.fail(err.Error())
	}
}

// exited takes note of the end of t and replaces it, unless that is done.
func (r *rehearsal) exited(t *task) {
	t.ecs.Stop()
	r.tasks = slices.DeleteFunc(r.tasks, func(other *task) bool { return other == t })
	r.page.runs(r.tasks)
	how, text := t.ended()
	if r.screen != nil {
		r.screen.becomes(t, hasEnded[how])
	}
	r.say("%v ended: %s", t, text)
	switch how {
	case killed:
		r.killed = append(r.killed, t.String())
	case failed:
		r.problems = append(r.problems, fmt.Sprintf("%v ended: %s", t, text))
	}
	if t.leaving || r.ending {
		return
	}
	if !t.up {
		if r.failures++; r.failures >= maxFailedStarts {
			r.fail(fmt.Sprintf("%d tasks in a row ended before they were healthy", r.failures))
			return
		}
	}
	r.replace()
}

func (r *rehearsal) say(format string, args ...any) {
	if r.screen != nil {
		r.screen.say(fmt.Sprintf(format, args...))
		return
	}
	r.print("rehearsal", fmt.Sprintf(format, args...))
}

// print writes one line.
func (r *rehearsal) print(who, text string) {
	r.outMu.Lock()
	defer r.outMu.Unlock()
	fmt.Fprintf(r.cfg.Out, "%-9s | %s\n", who, text)
}

func (r *rehearsal) label(name string) string { return r.labels[name] }
