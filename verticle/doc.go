// Package verticle runs the parts of a program: each is deployed and undeployed
// as a whole, and its handlers take turns.
//
// A [Verticle] registers consumers, and starts timers, goroutines and children,
// through its [Deployment], which owns them:
//
//	type Greeter struct{ greeted int } // needs no lock
//
//	func (g *Greeter) Start(ctx context.Context, d *verticle.Deployment) error {
//		_, err := d.Consume("greet", bus.Respond(func(ctx context.Context, name string) (string, error) {
//			g.greeted++
//			return "hello, " + name, nil
//		}))
//		return err
//	}
//
//	func (g *Greeter) Stop(ctx context.Context) error { return nil }
//
//	err := verticle.Run(ctx, eb, &Greeter{}) // until ctx ends, or a verticle fails
//
// # What runs where
//
// Start, Stop, the handlers and the functions of timers of one deployment run one
// at a time, on different goroutines but each after the other: they hold the
// deployment's turn, and its fields need no lock. They hold it even where they
// wait: what one waits for holds up the whole verticle, but nothing else. Three
// things leave the turn, and take it for a moment with Do of
// [Deployment.EventBus]:
//
//   - a function of [Deployment.Go], for what runs on and blocks
//   - the handlers of a consumer with [bus.WithConcurrency] over 1, for messages
//     whose handling blocks
//   - children ([Deployment.Deploy], [Instances]), which have turns of their own
//
// # Life of a deployment
//
// The consumers that Start registers are announced when it has returned nil,
// all together, and no message reaches them before, nor is a timer's function
// called. If Start fails or panics everything that it made is undone, Stop is not
// called, and the deployment never was. [Deploy] then waits, for at most 1 s in
// all, until the nodes that are linked know the consumers.
//
// A deployment ends by [Deployment.Undeploy], by a failure, or when the bus is
// closed. In each case, in this order:
//
//  1. its children are undeployed, the last one deployed first; further
//     consumers, children and calls of timers are refused from here
//  2. its consumers are closed; handlers and timers' functions that run are
//     awaited, what waits goes back to its senders
//  3. Stop is called, in the turn
//  4. the contexts of its goroutines end, and the goroutines are awaited
//
// All of this is bounded: by 10 s, or by the deadline of the context that
// Undeploy was given. What is still running then is left behind, and the error
// says what it is: a goroutine cannot be killed. When the time is over all that is
// left, of the children too, is begun at once, in no order, and gets 200 ms
// together. Stop is the one thing that may fall out: it is not called without the
// turn, which a handler that does not return still holds.
//
// A bus that is closed under its deployments closes their consumers itself, and
// waits for their handlers; Stop is called, without a bus to use, when it is
// closed. So undeploy first: then Stop may send and request, a child's also from
// its parent, whose consumers are still open.
//
// # Failures
//
// A handler's error is answered and logged by the bus, and so is its panic; the
// deployment goes on. An error or panic of a function of Go, or of a timer, ends
// the deployment; [Deployment.Err] has it. A child that fails takes its parent
// with it, as a verticle runs as a whole or not at all; one that is undeployed
// does not. What fails to start does not either: its Deploy returned the error to
// the one who may know better.
//
// [WithRestart] has a verticle that failed started again, after a pause, so many
// times within so long; then it fails for good, and so its parent does, which may
// be restarted in turn. A handler's panic is a failure there too. Without it
// nothing is restarted. [WithEvents] tells of all of this as it happens.
//
// Errors are, by [errors.Is], [ErrUndeployed], [ErrDeployed] and [ErrPanic],
// which say what to do; [github.com/runrig-go/runrig/bus.ErrClosed], as the bus
// was closed under a deployment; that of a context; and what the verticle's own
// functions returned. Any other is a setting that is wrong, or names what still
// ran when the time for an undeployment was over: a handler or function that
// does not heed its context, which is to be mended.
//
// # What is not here
//
// A verticle is not moved to another node when its own ends, and no quorum
// holds it back. Deploy it on several nodes, whose consumers share the messages
// and take over for each other, and have whoever started a process (ECS,
// Kubernetes, systemd) start it again. Failover by membership would run a
// verticle twice in every partition, in which both sides go on; where two must
// not run, take a lease in a store that has consensus.
//
// # Limits
//
// A deployment costs one goroutine of its own, and one for each function of Go
// that runs and each timer whose function runs or waits for the turn. Everything
// here may be called from several goroutines. There are no names to look
// deployments up by, and the package keeps no state: which values are deployed is
// known within a tree of deployments only. To end several at once, deploy them as
// children of one, as [Run] does.
//
// Nothing queues up here: messages wait in package bus, within its bounds, and
// the calls of a timer do not pile up.
package verticle
