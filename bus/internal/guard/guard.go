// Package guard calls what a program has given to the library: functions, the methods
// of its types, and log handlers. On a goroutine of the library's, a panic in one of
// them would end the process, and a runtime.Goexit what that goroutine was there for;
// guarded, both end the call alone.
//
// [Call] needs a goroutine for each call. What is called for each message or event does
// without: the goroutine that runs a handler, or a function for events, catches its
// panics itself, as Consumer.call in package bus does. So the bus uses [Logger] and
// [IsNil] alone.
package guard

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Error says that a function has panicked, or ended its goroutine.
type Error struct {
	text  string
	stack string
}

// Error gives the value of the panic, without the stack, which is for the log:
// see [Stack]. The value is not wrapped: a panic with an error is not that error.
func (e *Error) Error() string { return e.text }

// GuardedStack returns the stack of the panic.
func (e *Error) GuardedStack() string { return e.stack }

// Stack returns the stack of the first [Error] in err as an attribute of a log
// line, and nothing if there is none. It may be an Error of another tree's copy of
// this package: what a provider does is guarded in package discovery, and logged in
// cluster.
func Stack(err error) []any {
	var e interface{ GuardedStack() string }
	if errors.As(err, &e) {
		return []any{"stack", e.GuardedStack()}
	}
	return nil
}

// Call calls f, for whom name stands in errors, on a goroutine of its own, waits
// until that has ended, and returns the error of f. A panic of f, and a call of
// runtime.Goexit, is an [*Error].
func Call(name string, f func() error) (err error) {
	over := make(chan struct{})
	go func() { // until f returns, which is awaited
		defer close(over)
		returned := false
		defer func() {
			if returned {
				return
			}
			e := &Error{name + " ended its goroutine (runtime.Goexit)", string(debug.Stack())}
			err = e
			if p := recover(); p != nil {
				e.text = fmt.Sprintf("%s panicked: %v", name, p)
			}
		}()
		err = f()
		returned = true
	}()
	<-over
	return err
}
