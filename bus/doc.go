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
// An address has 255 bytes at most, a body 16 MiB ([WithBodyLimit]). LIMITS.md, beside
// this file, has all bounds, where memory goes, and what runs on which goroutine;
// TUNING.md goes by symptoms, and RECIPES.md has what services need beside the verbs.
//
// # When a message is delivered
//
// Send and Request choose among the consumers that this node knows at that moment,
// Publish takes them all. The calls encode the body, and Send and Publish return when
// the message is in the consumer's mailbox or the buffer of its node's link. A handler
// runs later, on a goroutine of its consumer, never on the caller's. That it has run,
// and what became of it, only a request tells. Each node tells its consumers to each
// node that it is linked with, so that no call looks anything up or connects.
//
// The consumers of an address on all nodes take turns, so that each has the same share
// of what a node sends, as long as all have room. [LocalOnly], [LocalFirst], [SameTag]
// and [ByKey] choose otherwise, and [EventBus.RequestAll] asks all of them. Those that are
// [PublishedOnly] take no turn.
//
// Each message has a deadline: that of the call's context or of [Within], else 30 s. No handler begins
// with it later, but for what the clocks of two nodes drift. To give up a context ends a
// request, and the context of its handler; what Send or Publish has sent stays sent. The
// bus tries nothing again but what a closing consumer sends back unhandled, and requests
// with [Idempotent].
//
// # What is guaranteed
//
// A message reaches a handler at most once ([Idempotent] requests are exempt).
// Messages of one sender to one address reach any one consumer in the order sent; those
// that a closing consumer sent back ([Message.Rerouted]) and the gossip lane are exempt.
// Those with one key are begun in the order sent ([ByKey]). A request ends exactly once,
// with a reply or an error, by its deadline, and at once when the link to the consumer's
// node ends. What other nodes consume is known only over a live link and forgotten when
// it ends. A bus that is closed loses nothing as long as the address has another
// consumer, or gets one before the message's deadline ([EventBus.Close]).
//
// Not guaranteed: messages under way on a link that breaks; a publish to a
// consumer that lags or is closing; anything that a killed process had taken;
// order across addresses or senders; relaying between nodes that cannot reach
// each other.
//
// # What may wait
//
// Each node that sends to a consumer may have a window of bytes unsettled there
// ([WithWindow]); the handler's return settles a message. Send and Request wait for a
// consumer with room until their deadline, first come first served; Publish waits for
// 100 ms at most, and Reply where its link is full of replies. Nothing else waits for
// anything: a slow consumer slows those who send to it.
//
// # Errors
//
// What a call of the bus returns is one of these, to be told by [errors.Is] and
// [errors.As], or an error of the call itself. The text says what was seen, and where.
//
//	error            handled?   what to do
//	ErrNoConsumer    no         see that a consumer is deployed, or wait for it (Await); where the
//	                            text names nodes that are not linked, look at the network
//	ErrBusy          no         slow down, or wait longer; more consumers, or WithConcurrency.
//	                            Of gossip: send less. Of a reply: it may be given again
//	ErrTooLarge      no         send less, or raise WithBodyLimit, on all nodes
//	ErrDeadlock      no         ask from outside the turn: from a consumer of WithConcurrency
//	ErrClosed        no *       stop: this bus, or this consumer, is at its end
//	ErrLinkLost      perhaps    ask again if that does no harm (Idempotent does so by itself)
//	of the context   perhaps    likewise; a longer deadline, if it was that
//	*ReplyError      yes **     as its Code says: a handler's own, or
//	  CodeFailed                the handler returned an error: its text is all there is
//	  CodePanic                 mend the handler: its node's log has the stack
//	  CodeBody       no         send what the handler's type takes, or register the codec there
//	  CodeUnanswered            use EventBus.Request, which can answer a question
//	  CodeBusy                  read faster, or ask less at a time: the link was full of replies
//	any other        no         mend the call: an option that does not fit, an address or header
//	                            that is no text, a body that cannot be encoded. But where a reply
//	                            cannot be decoded the request was handled
//
// (*) but a request that is under way when its bus is closed: perhaps. (**) or an
// interceptor has refused it. An error that matches ErrBusy or ErrNoConsumer may
// match the context's too, where that ended the wait: ask for the former first.
//
// The text of a request that ended with its context says in parentheses how far it came:
// waiting at its consumer, or its handler runs, within the node; sent, to another node, which
// may hold it, handle it or have handled it, as only that node knows; or sent back, waiting for
// another consumer, so not handled. One kind of end has one text, whoever ended it.
//
// What no caller is told of, as it has gone on, is counted in [Stats], logged, and told
// to functions of [WithEvents].
package bus
