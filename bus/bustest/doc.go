// Package bustest is what tests need of event buses, and in place of a network.
//
// A test of a consumer or a verticle takes a bus from [NewBus], or several
// linked ones from [NewCluster], puts a [Recorder] where the messages go that
// it wants to see, and waits with [Recorder.Await] for those that come, with
// [Settle] to know that no more do. Neither needs a port or a sleep.
//
// [Pipe] makes a stream between two ends in memory that behaves as a TCP
// connection does where that matters to a protocol: each direction holds a
// bounded number of bytes, an end may close its writing half, and closing an
// end that has unread input resets the other. On top of it each direction can
// be made to stall, to lose everything, or to be late.
//
// Everything waits on condition variables and timers of package time only, so
// that it takes part in the virtual time of [testing/synctest]. No goroutine
// runs but for a moment when a timer fires, and no timer is left once both ends
// are closed.
//
// [Ledger] checks, over any number of buses and processes, what is promised about
// each message.
package bustest
