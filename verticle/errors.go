package verticle

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Errors that a caller can act on; test for them with [errors.Is]. The text of
// what is returned names the deployment.
var (
	// ErrUndeployed says that the deployment is being undeployed, or has been;
	// or that it has failed and is not started again yet ([WithRestart]).
	// Nothing was registered or deployed: return, and leave it to the owner.
	ErrUndeployed = errors.New("verticle: undeployed")

	// ErrDeployed says that the verticle is deployed already, by the same Run
	// or below the same deployment. Two deployments would share its fields, but
	// not a turn: deploy a value for each. The error is given for pointers,
	// except to what has no fields; other values are copied, and values that
	// separate calls of Deploy share are the caller's business. What an Undeploy
	// has left behind is deployed until it has returned.
	ErrDeployed = errors.New("verticle: already deployed")

	// ErrPanic says that Start, Stop, a function of Go or of a timer, or,
	// under [WithRestart], a handler panicked. The error has the value's text,
	// and wraps it if it is an error; the log has the stack. It is a fault to
	// mend, which a restart only bridges.
	ErrPanic = errors.New("verticle: panic")
)

// errGoexit is the error of a function that ended its goroutine.
var errGoexit = errors.New("runtime.Goexit was called")

// failure is an error with the deployment and the step where it came up.
type failure struct {
	id   string
	step string
	err  error
	note string // what is to be known beside, if anything
}

// Error leaves out the steps that only pass on a child's failure.
func (f *failure) Error() string {
	text := fmt.Sprintf("verticle: %s: %s: %v", f.id, f.step, f.err)
	if inner, ok := f.err.(*failure); ok {
		text = inner.Error()
	}
	if f.note != "" {
		text += "; " + f.id + " was " + f.note
	}
	return text
}

func (f *failure) Unwrap() error { return f.err }

// ending reports whether it came up in the end of a deployment.
func (f *failure) ending() bool { return f.step == "stop" || strings.HasPrefix(f.step, "undeploy") }

// without returns what is left of err when it is no failure to be one of excuses.
// It looks at each part of what is joined, and excuses neither a panic nor what
// went wrong in the end of a deployment: beside a Start that was told to end there
// may be a Stop that failed.
func without(err error, excuses ...error) error {
	if f, ok := err.(*failure); ok && f.ending() {
		return err
	}
	if isJoined(err) {
		var left []error
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			if e = without(e, excuses...); e != nil {
				left = append(left, e)
			}
		}
		return join(left)
	}
	if inner := errors.Unwrap(err); inner != nil && without(inner, excuses...) != nil {
		return err
	}
	if !errors.Is(err, ErrPanic) && slices.ContainsFunc(excuses, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}

// isJoined reports whether errors.Join has made err.
func isJoined(err error) bool { return reflect.TypeOf(err) == reflect.TypeOf(errors.Join(errGoexit)) }

// panicError is the error of a panic with value p.
func panicError(p any) error {
	if err, ok := p.(error); ok {
		return fmt.Errorf("%w: %w", ErrPanic, err)
	}
	return fmt.Errorf("%w: %v", ErrPanic, p)
}
