// Package lease decides who does what only one may do at a time: a verticle that
// runs at one place in the cluster ([Singleton]), a function under a lease ([Run]), a
// lock with a fence ([Lock]). It also keeps small things that all nodes share, a
// number ([Counter]) and a few values ([Map]).
//
//	err := verticle.Run(ctx, eb, lease.Singleton(store, "scheduler", new(Scheduler)))
//
// Who is alive, gossip tells; who is the one, it cannot: in a partition both sides
// would be. A store with consensus can, and the program probably has one. A [Store]
// is three methods on it: packages dynamodb, etcd, postgres and redis, below this one,
// have them, in modules of their own. [Memory] is one for tests and programs of one
// process. README.md, beside this file, says what each engine costs and may lose, how a
// fence is used, and what happens at a deployment, with figures.
//
// # How a lease is held
//
// A lease is one record in the store: its holder, its fence, its ttl. The holder
// writes it again each third of the ttl. Another may take it over when it has seen
// the record unchanged for the ttl that is written there, by its own clock from the
// moment when it had read it. So no clocks of two machines are ever compared, and
// none of the store's is. The context of the holder's function ends a margin before
// that can happen: ttl less margin after the last renewal that succeeded was sent.
// A renewal of which nobody knows whether it was done is read back.
//
//	                    after
//	graceful end        at once where the store watches or, in a Singleton, the bus links
//	                    holder and standby; else the poll of who waits (WithPoll)
//	crash               the ttl, where the store watches or the link to the crashed node
//	                    ends; else up to the poll more
//	cut off from store  the holder stops ttl less margin after its last renewal; another
//	                    starts when the ttl is over
//
// A held lease costs a write each third of the ttl. One who waits in a Singleton
// costs a read each ttl, and nothing where the store watches.
//
// # What a fence is for
//
// A process that is stopped, by its host or its collector, does not know how long:
// it may go on when its lease is another's, for as long as it takes until its
// context's end is seen. Nothing that runs in the process can prevent that. So each
// holder has a number, the fence, that is higher than those of all before it. Send
// it along with what is written elsewhere, and have it refused there if a higher
// one has been seen: UPDATE ... WHERE fence <= $1, or a condition of the same kind.
// What cannot be refused, as a mail that is sent, may happen twice.
//
// Never delete a lease's record from the store while a fence may be remembered
// somewhere: the next one would begin with 1.
//
// # When a singleton is the wrong answer
//
// One place for each of many things, as a cache or an actor for each customer, is
// what [bus.ByKey] gives without a store, if two for a moment do no harm. Work of
// which each piece is to be done once belongs into a queue. A singleton fits what
// there is one of: a scheduler, the poller of a source that takes one reader, a
// migration.
//
// # What happens at a deployment
//
// A node that leaves undeploys its verticles first, so that the lease is released
// when the singleton's Stop has returned, and a standby has it within a second.
// Where those who stand by have a newer revision ([WithRevision]), it is one of
// them: so it moves once while all nodes are replaced, if a new node has joined
// before the holder leaves. It never moves while its holder is well. Calls to it
// wait in between by [Await].
package lease
