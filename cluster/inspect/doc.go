// Package inspect lets one look at a node and at its whole cluster from outside: who is
// there, who is linked with whom, which addresses there are and how they fare, what is
// deployed and what has failed. It makes snapshots, which are plain types with JSON
// names, and HTTP handlers that serve them. The command runrig, the dashboard and the
// Prometheus collector are made of it.
//
//	node, err := cluster.Join(ctx, eb, cluster.Config{
//		Discovery: discovery.Static("10.0.0.7:7946"),
//		Secrets:   cluster.SecretsFromEnv("RUNRIG_SECRET"),
//		Admin:     inspect.Handler, // whoever holds the secret may look, and send
//	})
//	mux.Handle("/livez", inspect.Livez(node))
//	mux.Handle("/readyz", inspect.Readyz(node))
//
// # One node speaks for all
//
// The [Inspector] of a node answers the inspectors of the others, over the bus, at an
// address that is reserved for it. So one node that is asked ([Inspector.Cluster]) tells
// of all. Who does not answer within a second is in the snapshot by name, as Missing,
// with the reason: it is never just not there. A node answers as soon as its program
// has called [Of], or set cluster.Config.Admin to [Handler] or [ReadOnly].
//
// # What it costs
//
// While nobody asks, an inspector is one goroutine that waits for the node's events, of
// which it keeps the last 256. A snapshot of a node takes as long as
// [bus.EventBus.TopAddresses], about a microsecond for each address, and some ten
// microseconds. All who ask the same share the addresses of one moment: they are looked
// up anew only when twenty times as long has passed as that took.
//
// A snapshot is bounded, and says what it left out ([LeftOut]): see [Query].
//
// # The types
//
// Each document says its Version. Fields may be added to a version, and a reader
// ignores those it does not know; what changes its meaning is another version. A
// figure that a node does not have, as it is of an older release, is absent, and nil
// in Go: it is never a zero. Boot ids are 16 digits of hexadecimal. Durations are
// seconds, sizes bytes, and counters begin when the node starts.
package inspect
