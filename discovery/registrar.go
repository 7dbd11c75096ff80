package discovery

import (
	"context"
	"time"
)

// Heartbeat is about how often a node renews its [Registration]. A registry forgets
// one that was not renewed for three times as long, at the earliest.
const Heartbeat = 10 * time.Second

// Registrar is implemented by a [Provider] whose list the nodes keep themselves, as
// in Consul, etcd or a table of a database. It is optional; callers look for it by
// type assertion. A panic is an error.
type Registrar interface {
	// Register enters a node, or renews its entry, which may have been forgotten
	// meanwhile. It is called when the node listens, then each [Heartbeat], and
	// sooner after an error, which never ends the node. It may wait until ctx ends.
	Register(ctx context.Context, r Registration) error

	// Deregister removes the entry, when the node begins to leave. It is called
	// once, after the last Register has returned, and has three seconds. That there
	// is no entry is no error.
	Deregister(ctx context.Context, r Registration) error
}

// A Registration is what a node enters. It is the same for as long as the node lives.
type Registration struct {
	Cluster string            // the cluster's name
	ID      string            // name and boot id: no other node has it, nor the same one when it starts anew
	Name    string            // the node's name
	Addr    string            // "ip:port" at which others reach it
	Tags    map[string]string // read-only
}

// Watcher is implemented by a [Provider] that notices when its answer changes. It is
// optional; callers look for it by type assertion.
type Watcher interface {
	// Watch calls changed whenever the answer of Peers may be another one, until ctx
	// ends. Then, or when it can watch no longer, it returns; it is called again
	// after a pause. changed does not block, and may be called too often: the node
	// asks at once, but not more than once a second.
	Watch(ctx context.Context, changed func()) error
}

type clusterKey struct{}

// WithCluster returns a context by which a [Provider] is told for which cluster it is
// asked; package cluster calls all methods with one.
func WithCluster(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, clusterKey{}, name)
}

// ClusterOf returns the name of the cluster that asks, "" if ctx does not tell.
func ClusterOf(ctx context.Context) string {
	name, _ := ctx.Value(clusterKey{}).(string)
	return name
}
