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
// # When a message is delivered
//
// Send and Request choose among the consumers that this node knows at that
// moment, Publish takes them all; who comes later gets nothing of it. The calls
// encode the body, and Send and Publish return when the message is in the
// consumer's mailbox or the buffer of its node's link. A handler runs later, on a
// goroutine of its consumer, never on the caller's. That it has run, and what
// became of it, only a request tells.
//
// No call looks anything up, and none connects: each node tells its consumers
// to each node that it is linked with, all of them first and then each change,
// in order. There is no registry that could fail or be out of date. A call that
// finds no consumer while the first link comes up waits for that, and one with
// [Await] until there is one.
//
// Each message has a deadline: that of the call's context, else 30 s. It goes
// with the message, and whatever the verb, a message that no
// handler has begun with by then is not handled any more: it is counted as
// Expired ([Stats]) where it waited. That holds wherever it has waited: for a first
// link, for room, in the buffers of a link, in the network, in the socket of a
// process that was stopped, in a mailbox. Within a node nothing is begun after its
// deadline, but in the first 50 ms after the process got no time to run for more
// than 10 s. From another node it may be later by the shortest time that anything
// took over the link, and by half a millisecond for each second since that was seen
// last, as the clocks of two nodes drift. (Where the clock of a node stands still, as
// in a machine that is suspended, its messages count as older by that for a second
// or two after; they may expire, but are never begun with too late.) To give up a context ends a request, and
// the context of its handler; what Send or Publish has sent stays sent.
//
// The bus tries nothing again, whatever a handler returns, but for two things:
// what a closing consumer sends back unhandled goes to another one, and a request
// with [Idempotent] is sent anew when a link ends. Both sides of a call being in
// one process changes nothing of this, but that no link can end.
//
// # What is guaranteed
//
// A message reaches a handler at most once ([Idempotent] requests are exempt, as
// they ask to be). Messages of one sender to one
// address reach any one consumer in the order sent; those that a closing
// consumer sent back ([Message.Rerouted]) and the gossip lane are exempt. Those
// that it sent with one key are begun in the order sent, also when the key's
// consumer closes ([ByKey], which says what is exempt). A
// request ends exactly once, with a reply or an error, by its deadline, and at
// once when the link to the consumer's node ends. What other nodes consume is
// known only over a live link and forgotten when it ends. A bus that is closed
// loses nothing as long as the address has another consumer, or gets one before
// the message's deadline, while any node stays that can wait for it ([EventBus.Close]).
//
// Not guaranteed: messages under way on a link that breaks; a publish to a
// consumer that lags or is closing; anything that a killed process had taken;
// order across addresses or senders; relaying between nodes that cannot reach
// each other.
//
// # Which consumer
//
// The consumers of an address on all nodes take turns, so that each has the same
// share of what a node sends, wherever it is, as long as all have room. One without
// room is passed over: a node that sends faster than credit comes back from afar
// gives more to consumers that are near, most of it to its own.
// [LocalOnly] leaves out other nodes. [LocalFirst] and [SameTag] prefer the
// consumers of this node and of nodes that share a tag with it, and pass over to
// the others when those have no room. [ByKey] gives what has the same key to the
// same consumer. [EventBus.RequestAll] asks all of them.
//
// # What may wait
//
// Each node that sends to a consumer may have a window of bytes unsettled
// there; the handler's return settles a message. Send and Request wait for a
// consumer with room, first come first served, until their deadline, and return
// [ErrBusy] then; those for the owner of a key wait beside the others, and also
// while what a closing owner sends back is on its way. When the last consumer goes
// that could take it, a call that waits for room ends at once, as one that is made
// then: with [ErrNoConsumer], or [ErrDeadlock] if all that are left are in the
// caller's own scope. Only a call with [Await], and what a closing consumer sent
// back, which had been taken before, waits for the address to have a consumer again. A body over 64 KiB is
// waited for until it has left, or taken back at its deadline, as a reply or a
// message on its way back is. Publish waits 100 ms at most for room. A question
// ([Message.Request]) over 64 KiB waits until it has left, as its asker waits for the
// answer anyway. Nothing else waits for anything: a slow consumer slows
// those who send to it.
//
// A reply does not wait for a requester that reads slowly, as that would hold up the
// consumer and all others who ask it. Where its link has no room it is kept, until
// there is some or the request's deadline is over. Only where the link keeps 16 MiB
// already, or all links together 64 MiB and this one 1 MiB, and for a body over
// 64 KiB on a link that is not fast, does Reply wait, for 100 ms at most, and once:
// until half of what is kept is written, or no large reply is left, others do not.
// Then the large reply is kept, and the one too many is dropped: its requester is
// told so at once by [CodeBusy].
//
// Each link writes in parts of about 10 ms, of what it has taken lately. What says
// that this node lives, what its consumers have settled and which they are is written
// first; then small messages and large bodies have half of the link each, if both
// would fill it.
//
// A window begins with 16 KiB. A message that had to wait for credit says so, and
// the consumer's node then doubles the window, up to what [WithWindow] says and as
// far as the pool of [WithMemory] has room: if the consumer keeps up, that is, would
// handle what waits there within half of the time that the message has left. So a
// slow consumer holds little that others could handle sooner, or that expires with
// it; who sends to it waits, or gets ErrBusy. A window that is not needed goes back to
// the pool as its messages are settled, or when its sender finds, each 10 s, that
// little of it was used, so that no credit is ever revoked; that of messages of the
// consumer's own node as soon as it is idle.
//
// # What runs where
//
// A consumer that has work has a goroutine, one with [WithConcurrency] up to
// as many as it says, and a scope one for all its others. Up to 16 of them
// linger for the next work, of any consumer, so a handler that locks its
// thread or sets labels of its goroutine undoes that. They end within 100 ms
// without work, and when the bus is closed: close it before a bubble of
// testing/synctest ends. Handlers, and what [WithInbound] puts around them,
// run there, and nowhere else. Interceptors of [WithOutbound] and the
// functions of a codec that encode run on the caller's goroutine, those that
// decode where Decode is called. A link has two: one reads, the other writes
// what callers leave to it. While something is to be told to the function of
// [WithEvents], that has one. [EventBus.RequestAll] waits for each consumer on
// one of its own. The bus has no other goroutine.
//
// # Errors
//
// What a call of the bus returns is one of these, to be told by [errors.Is] and
// [errors.As], or an error of the call itself. The text says more: the address,
// the node where there is one, what was seen.
//
//	error            handled?   what to do
//	ErrNoConsumer    no         see that a consumer is deployed, or soon will be (Consumer.Known),
//	                            or wait for it (Await);
//	                            where the text names nodes that are not linked, look at the network
//	ErrBusy          no         slow down, or wait longer; more consumers, or WithConcurrency.
//	                            Of gossip: send less. Of a reply: it may be given again
//	ErrTooLarge      no         send less, or where the body is to be had; or raise WithBodyLimit,
//	                            on all nodes
//	ErrDeadlock      no         ask from outside the turn: from a consumer of WithConcurrency, or by
//	                            Deployment.Go of package verticle
//	ErrClosed        no *       stop: this bus, or this consumer, is at its end
//	ErrLinkLost      perhaps    ask again if that does no harm (Idempotent does so by itself)
//	of the context   perhaps    likewise; a longer deadline, if it was that. The handler's context
//	                            has ended, too
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
// What nobody is there to be told, as its sender has gone on, is counted in
// [Stats], logged as a warning, once a second at most for each kind of it, and told
// to the function of [WithEvents]: [DeadLetter], and [MessagesLost] for what expired
// before a handler began, was cut off with its link, was under way on one, or was
// skipped. What a publish loses at a consumer that closes is logged at debug level.
//
// # Limits
//
//	address                       255 bytes, UTF-8; those that begin with "_runrig." are Reserved
//	text of a ReplyError          16 KiB; what is longer is cut, with a note of its length
//	body                          16 MiB (WithBodyLimit); over 64 KiB it goes in chunks
//	headers of a message          1,024 and 16 KiB
//	window of a consumer          1 MiB + 64 KiB for each node that sends to it (WithWindow)
//	pool that windows grow from   64 MiB (WithMemory)
//	bodies over 64 KiB coming in  64 MiB, at least four of the limit; each for an hour at most
//	unwritten bytes of a link     1 MiB; where it takes them slowly what it takes in 20 ms, but
//	                              at least 64 KiB; and what may not wait: credit, errors, bounces
//	replies kept for want of room 1 MiB of a link, and 64 MiB (WithMemory) of all, 16 MiB of one
//	routes of a node              1,048,576
//	codecs of a bus               250, with names of 64 bytes (WithCodec)
//	events that wait to be told   4,096, and 4 MiB of dead letters (WithEvents)
//	gossip                        1,024 bytes of address, headers, codec's name and body
//	deadline without a context's  30 s
//	sent back by consumers        as often as they close, beyond 16 times after a pause
//
// # Memory
//
// What waits in the mailboxes of a node with k consumers, to which n nodes (this
// one counts) send at full speed and which handle nothing, is at most
//
//	n × k × 16 KiB + pool + n × k × (the largest message that is sent)
//
// as a message may start while any of its window is left. With messages of up to
// 1 KiB and the default pool this bound is, and the part of it that is reached
// only if every node floods every consumer at once:
//
//	  3 nodes ×   100 consumers      69 MiB, of which the floors are   5 MiB
//	 50 nodes × 1,000 consumers     894 MiB, of which the floors are 781 MiB
//	300 nodes × 1,000 consumers   5,044 MiB, of which the floors are 4.6 GiB
//
// The rest is bounded by settings, and by what the program itself does:
//
//	a call that waits              its encoded body, on its caller's account
//	what was just handled          64 KiB, or one message, of each consumer that has work
//	what Send and Publish left     up to 1 MiB a link, unwritten, and what may not wait
//	replies that are kept          up to 1 MiB a link, and 64 MiB (WithMemory), of which a link has a
//	                               quarter at most
//	bodies over 64 KiB coming in   64 MiB, or four times WithBodyLimit if that is more
//	memory of bodies, to be used   16 MiB, a quarter of WithMemory; what was not needed for 10 to
//	again                          20 s is left to the collector
//	events that are not told yet   4,096, and 4 MiB of dead letters
//	requests under way             one for each goroutine that waits in Request
//	messages that were sent back   no more than this node had sent: its windows elsewhere
//	what leaving nodes hand over   as much as WithMemory for each, what is more is a dead letter
//
// An idle consumer takes about 500 bytes (examples/bench, case idle).
//
// # The collector
//
// What was handled is garbage, and a process that holds little else has a small
// heap, which Go collects whenever 4 MiB have gathered. At full speed that would
// be hundreds of times a second, and take up to half of the time. So memory for
// bodies of 4 KiB to 4 MiB that came over a link (replies from 8 KiB on), and the
// blocks of 4 KiB that bodies up to 1 KiB share, has a finalizer: when the
// collector finds that nobody holds any of it, it is used for others. A body, or
// a part of it, may be kept as long as one likes. A [Message] may be kept too, but keeps
// up to 30 others that came with it, and their bodies: rather keep its body. Mind:
//
//   - runtime.SetFinalizer on such a body ends the program, and what
//     runtime.AddCleanup is to do does not happen while its memory is used again.
//   - A finalizer of the program's that blocks keeps others from running, and so
//     these bodies from being freed.
//   - Under the race detector nothing is used again: it does not know what the
//     collector orders.
//
// What is left is a Message of 64 bytes each. With GOGC=400 such a process moves
// up to 1.2 times as many small messages one way, and about as much of all else
// (compare, in examples/bench, go run . -cases send with GOGC=400 go run . -cases
// send). The bus does not touch the setting: it is the program's.
//
// # The gossip lane
//
// Publish with [Gossip] reaches the consumers of all nodes without links, at a
// cost for the sender that does not grow with the cluster. It is for small, rare
// notices that may come late, twice in meaning, or not at all, in any order. What
// was published over an hour before this node was part of the cluster, by the
// sender's clock, is dropped: one whose clock is behind by more is not heard by a
// node for as long after that node's start.
// Package cluster has the measured numbers.
package bus
