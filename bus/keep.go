package bus

import "sync"

// keeps is what packages keep with the bus, by their keys.
type keeps struct {
	mu    sync.Mutex
	byKey map[any]any
}

// Keep returns what the bus keeps under the key; if it keeps nothing there, it
// keeps what create returns. So a package has something of its own for each bus,
// without a variable for all buses: it lasts as long as the bus, and all scopes of
// the bus have the same. The key is of a type that only the package has, as for
// context.WithValue. create is called once for a key, with a lock held: it must not
// call Keep, and should not block. What a nil create finds missing is nil.
func (eb *EventBus) Keep(key any, create func() any) any {
	k := &eb.core.keeps
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok := k.byKey[key]
	if ok || create == nil {
		return v
	}
	v = create()
	if k.byKey == nil {
		k.byKey = map[any]any{}
	}
	k.byKey[key] = v
	return v
}
