// Package bus is an event bus: consumers listen on addresses, and messages are
// sent to one of them, published to all, or request a reply. It works alone,
// within a process, and over links to the buses of other processes, which
// package cluster sets up.
//
//	eb := bus.New()
//	eb.Consume("greet", bus.Respond(func(ctx context.Context, name string) (string, error) {
//		return "hello, " + name, nil
//	}))
//	hi, err := bus.Request[string](ctx, eb, "greet", "ada")
//
// # What is guaranteed
//
// A message reaches a handler at most once. Messages of one sender to one
// address reach any one consumer in the order sent; those that a closing
// consumer sent back ([Message.Rerouted]) and the gossip lane are exempt. A
// request ends exactly once, with a reply or an error, by its deadline, and at
// once when the link to the consumer's node ends. What other nodes consume is
// known only over a live link and forgotten when it ends. A bus that is closed
// loses nothing as long as the address has another consumer, or gets one before
// the message's deadline.
//
// Not guaranteed: messages under way on a link that breaks; a publish to a
// consumer that lags or is closing; anything that a killed process had taken;
// order across addresses or senders; relaying between nodes that cannot reach
// each other.
//
// # What may wait
//
// Each node that sends to a consumer may have a window of bytes unsettled there
// ([WithWindow]); the handler's return settles a message. Send and Request wait
// for a consumer with room, first come first served, until their deadline, and
// return [ErrBusy] then. Publish waits 100 ms at most. A reply waits for room in
// the buffer of its link. Nothing else waits for anything: a slow consumer slows
// those who send to it.
//
// # Limits
//
//	address                      255 bytes
//	body                         64 KiB
//	headers of a message         1,024 and 16 KiB
//	window of a consumer         256 KiB for each node that sends to it
//	unwritten bytes of a link    1 MiB and what may not wait: credit, replies without room, bounces
//	routes of a node             1,048,576
//	gossip                       1,024 bytes of address, headers and body
//	deadline without a context's 30 s
//
// A consumer holds at most a window, and one message more, for each node that
// sends to it: with n nodes and k consumers on this one, n × k × (window + 80 KiB).
//
// # The gossip lane
//
// Publish with [Gossip] reaches the consumers of all nodes without links, at a
// cost for the sender that does not grow with the cluster. It is for small, rare
// notices that may come late, twice in meaning, or not at all, in any order.
// Package cluster has the measured numbers.
package bus
