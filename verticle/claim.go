package verticle

import (
	"fmt"
	"reflect"
	"sync"
)

// claims are the verticles that are deployed now, each with the ID of its
// deployment. They are of the process, not of a bus: what two deployments of one
// value would break is the value's memory. Nothing else depends on them.
var claims struct {
	mu sync.Mutex
	by map[Verticle]string
}

// claim makes v the deployment's, until release. It fails if it is another's.
func claim(v Verticle, id string) error {
	if !shared(v) {
		return nil
	}
	claims.mu.Lock()
	defer claims.mu.Unlock()
	if other, ok := claims.by[v]; ok {
		return fmt.Errorf("%w: this %T is deployed as %s, or something of that still runs; undeploy it first, or deploy another value", ErrDeployed, v, other)
	}
	if claims.by == nil {
		claims.by = map[Verticle]string{}
	}
	claims.by[v] = id
	return nil
}

// release ends a claim.
func release(v Verticle) {
	if !shared(v) {
		return
	}
	claims.mu.Lock()
	defer claims.mu.Unlock()
	delete(claims.by, v)
}

// shared reports whether two deployments of v would share memory that can be
// told to be the same: pointers to types without size may be equal by chance.
func shared(v Verticle) bool {
	t := reflect.TypeOf(v)
	return t.Kind() == reflect.Pointer && t.Elem().Size() > 0
}
