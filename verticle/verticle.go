package verticle

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"github.com/runrig-go/runrig/verticle/internal/guard"
)

// A Verticle is a part of a program that is deployed as a whole. Start, Stop
// and its handlers are never called at the same time for one deployment.
//
// A verticle that has been undeployed may be deployed again, and one that fails
// may be restarted ([WithRestart]); Start is then called again on the same value.
// While it is deployed it cannot be deployed
// once more: see [ErrDeployed].
type Verticle interface {
	// Start makes the verticle ready: it registers consumers, starts goroutines
	// and deploys children through d, which it may keep. No message reaches its
	// consumers before it has returned nil. If it returns an error, or panics,
	// what it made through d is undone; what else it made it must undo itself,
	// as Stop is not called.
	//
	// Start may wait, for as long as ctx has not ended: it ends with the context
	// of Deploy, and when the deployment is to end before it has started. It is
	// over when Start has returned, and so nothing to keep.
	Start(ctx context.Context, d *Deployment) error

	// Stop undoes what Start made otherwise than through the deployment. It is
	// called once for each Start that returned nil, when the children are
	// undeployed, the consumers closed and their handlers have returned, and
	// while goroutines of the deployment still run. It may use the bus. It
	// should return when ctx has ended.
	Stop(ctx context.Context) error
}

// Func is a function as a [Verticle]: it is called as Start, and Stop does
// nothing. The same Func may be deployed several times at once.
type Func func(ctx context.Context, d *Deployment) error

// Start calls f.
func (f Func) Start(ctx context.Context, d *Deployment) error { return f(ctx, d) }

// Stop does nothing and returns nil.
func (f Func) Stop(context.Context) error { return nil }

// check refuses what cannot be deployed.
func check(v Verticle) error {
	if v == nil {
		return errors.New("verticle: nil Verticle")
	}
	if i, ok := v.(instances); ok {
		return i.check()
	}
	if guard.IsNil(v) {
		return fmt.Errorf("verticle: nil %T", v)
	}
	return nil
}

// nameOf is the verticle's type with its package, or the name of the function that it
// is.
func nameOf(v Verticle) string {
	switch v := v.(type) {
	case instances:
		return "Instances"
	case Func:
		name := runtime.FuncForPC(reflect.ValueOf(v).Pointer()).Name()
		return name[strings.LastIndexByte(name, '/')+1:]
	}
	t := reflect.TypeOf(v)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Name() == "" {
		return "verticle"
	}
	return t.String()
}
