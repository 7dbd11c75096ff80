package verticle

import (
	"fmt"
	"reflect"
	"sync"
)

// claims are the verticles that are deployed now in a tree of deployments, each
// with the ID of its deployment. The deployment at the root has them.
type claims struct {
	mu sync.Mutex
	by map[Verticle]string
}

// claim makes d's verticle its own, until release. It fails if it is another's
// in the same tree.
func (d *Deployment) claim() error {
	if !shared(d.verticle) {
		return nil
	}
	c := d.claims
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, ok := c.by[d.verticle]; ok {
		return fmt.Errorf("%w: this %T is deployed as %s, or something of that still runs; undeploy it first, or deploy another value", ErrDeployed, d.verticle, other)
	}
	if c.by == nil {
		c.by = map[Verticle]string{}
	}
	c.by[d.verticle] = d.id
	return nil
}

// release ends a claim.
func (d *Deployment) release() {
	if !shared(d.verticle) {
		return
	}
	d.claims.mu.Lock()
	defer d.claims.mu.Unlock()
	delete(d.claims.by, d.verticle)
}

// shared reports whether two deployments of v would share memory that can be
// told to be the same: pointers to types without size may be equal by chance.
func shared(v Verticle) bool {
	t := reflect.TypeOf(v)
	return t.Kind() == reflect.Pointer && t.Elem().Size() > 0
}
