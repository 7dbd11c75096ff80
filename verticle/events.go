package verticle

import (
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Event is what becomes of a deployment: a [Started], [Failed], [Restarting] or
// [Stopped]. Its Path has the IDs of the deployments from the one without parent
// to the one it is about, which is the last; it is not to be changed. See
// [WithEvents] for their order.
type Event interface{ event() }

// Started says that Start has returned nil and the consumers are announced.
type Started struct {
	Path     []string
	Restarts int // how often it was restarted; 0: by Deploy
}

// Failed says that a verticle failed, to start or later, and begins to end. What
// comes then is a Restarting or a Stopped.
type Failed struct {
	Path []string
	Err  error // why
}

// Restarting says that what a verticle that failed had made is undone, and that
// it is started again after a delay.
type Restarting struct {
	Path     []string
	Err      error // why it failed, joined with what went wrong in undoing it
	Restarts int   // how often it was restarted, with this one
	Delay    time.Duration
}

// Stopped says that a deployment has ended.
type Stopped struct {
	Path []string
	Err  error // what its Err returns
}

func (Started) event()    {}
func (Failed) event()     {}
func (Restarting) event() {}
func (Stopped) event()    {}

// WithEvents sets a function that is told what becomes of the deployment, and of
// its children and theirs, beside the functions that they are given themselves.
//
// It is called for one event after the other. Those of one deployment come in
// this order: Started, then, for each failure, Failed and Restarting and, if it
// starts again, Started; at the end Stopped, after a Failed if it failed. One
// that fails to start at its Deploy has a Failed and a Stopped. The events of a
// child come between those of its parent: it is Started before its parent if it
// was deployed in Start, fails before its parent fails, and is Stopped before its
// parent is Restarting or Stopped. Deploy returns after Started has been told,
// and Done is closed after Stopped has.
//
// f runs on a goroutine of its own while the deployment waits for it, so it must
// not block, nor deploy or undeploy, nor take a turn: what it is to do about an
// event it leaves to another goroutine. A panic of f is logged. A nil f is an error.
func WithEvents(f func(Event)) Option {
	return optionFunc(func(c *config) error {
		if f == nil {
			return errors.New("verticle: WithEvents with a nil function")
		}
		c.events = f
		return nil
	})
}

// watcher is a function of WithEvents with the events that wait for it.
type watcher struct {
	f   func(Event)
	log *slog.Logger

	calls sync.Mutex // held while f runs

	mu    sync.Mutex
	queue []Event
}

// tellLocked queues an event. The caller holds d.mu, which orders a deployment's
// events, and calls tell when it does not any more.
func (d *Deployment) tellLocked(e Event) {
	for _, w := range d.watchers {
		w.mu.Lock()
		w.queue = append(w.queue, e)
		w.mu.Unlock()
	}
}

// tell returns when all events that were queued before have been told.
func (d *Deployment) tell() {
	for _, w := range d.watchers {
		w.flush()
	}
}

func (w *watcher) flush() {
	w.calls.Lock()
	defer w.calls.Unlock()
	for {
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.queue = nil
			w.mu.Unlock()
			return
		}
		e := w.queue[0]
		w.queue = w.queue[1:]
		w.mu.Unlock()
		w.call(e)
	}
}

// call calls the function, on a goroutine which it may end: the caller's is
// needed.
func (w *watcher) call(e Event) {
	over := make(chan struct{})
	go func() { // until f returns, which is awaited
		defer close(over)
		err := errGoexit
		defer func() {
			if p := recover(); p != nil {
				err = panicError(p)
			}
			if err != nil {
				w.log.Error("function of WithEvents panicked", "err", err, "stack", string(debug.Stack()))
			}
		}()
		w.f(e)
		err = nil
	}()
	<-over
}
