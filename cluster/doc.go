// Package cluster makes the buses of many processes one: its nodes find each
// other, agree on who is alive, and link their buses.
//
//	eb := bus.New()
//	node, err := cluster.Join(ctx, eb, cluster.Config{
//		Discovery: discovery.Static("10.0.0.7:7946", "10.0.0.8:7946"),
//		Secrets:   cluster.SecretsFromEnv("RUNRIG_SECRET"),
//	})
//	defer node.Close()
//
// Discovery says where others may be. Gossip (hashicorp/serf) says who is there
// and who is not any more. Messages take neither way: between each two nodes
// there is one connection, the link, over which their buses speak.
//
// RUNNING.md, beside this file, says how to run a cluster, and TROUBLE.md what to do
// when something is wrong. LIMITS.md has all bounds, and FAULTS.md what a program
// sees of faults; each figure there has the command that repeats it.
//
// # What is guaranteed
//
// A node asks discovery for as long as it lives, and joins the nodes that it finds, so
// that islands merge after a partition of any length, if discovery tells of a node of
// each. A failure of discovery is "could not ask": it is logged and asked again, and
// never taken for "nobody there".
//
// Who is alive is judged by two witnesses, gossip and the links, of which a link
// that is up is believed first: see [Status]. [Node.State] says whom this node is
// with; one that loses its last link says so within six seconds, however large the
// cluster was. Readiness is another question, which [Node.Serving] answers. What is
// wrong is for a human, in [Node.Trouble] and the log.
//
// Two links to one node never overlap: the old one is down, with all that was
// known over it, before the new one is up. A node that restarts at its address
// takes the place of its predecessor, whose links end then, however dead or
// alive they look. Two nodes that both live and advertise one address are found
// out ([Conflict]), and a node that others do not reach at the address it advertises
// says so itself ([Unreached]).
//
// With [Config].Secrets nothing that a stranger sends gets further than the TLS
// handshake: each stream, gossip's too, is mutual TLS 1.3 with a key that only
// holders of the secret have, and each packet is sealed with XAES-256-GCM, and opened
// before gossip sees it. The name of the cluster can be read in packets. Who holds the
// secret is trusted fully. A node without Secrets listens on the loopback only, unless
// [Config].Insecure says that the network is trusted. A node that is refused for its
// secret, cluster name or protocol version says why, as does the other one: in a
// [Refused], in the log, and in [Stats].
//
// # What is not
//
// The nodes' views of each other differ for a while after every change. Both
// sides of a partition go on. Two nodes that cannot reach each other exchange
// nothing, even if a third reaches both. Names are not checked to be unique,
// the boot ids behind them are. There are no locks, maps or counters for the whole
// cluster, and no quorum: package verticle/lease has what a store with consensus gives.
//
// # What runs where
//
// Handlers run where package bus says. [Config].Discovery is asked by Join and
// then by a goroutine of the node, and blocks nothing but the search for others.
// There are no callbacks: [Node.Events] tells what happens, and a slow reader holds up
// nobody. Join, Close and Ping wait, as they say, and no other method does.
//
// All goes over one port, TCP and UDP, by default 7946, open between all nodes in
// both directions. Without UDP gossip limps along over TCP, and says so in the log. A
// node behind address translation sets [Config].Advertise.
//
// Every node is linked with every other, which suits clusters of up to a few
// hundred nodes; SCALE.md says what that costs.
//
// # The gossip lane
//
// bus.Publish with bus.Gossip goes over serf's user events: to the consumers of
// all nodes, epidemically, without links, at a cost for the sender that does
// not grow with the cluster. It is for small, rare, repeatable notices, of 1,024
// bytes and 4 KiB a second for each node. It is not the way for messages because it
// has no order, is lossless only when it is nearly idle, and does not say when it
// loses.
package cluster
