// Package clustertest runs whole clusters in memory, for tests: buses, nodes,
// gossip and links as in production, on a network that can lose, delay, split
// and break at a word. In a bubble of testing/synctest a minute of such a
// cluster takes some milliseconds.
//
//	func TestFailover(t *testing.T) {
//		clustertest.Run(t, 3, func(t *testing.T, c *clustertest.Cluster) {
//			// ... register consumers on c.Node(0).Bus and others ...
//			c.Kill(2)
//			c.AwaitLinked(0, 1)
//			// ... send, and see who answers ...
//		})
//	}
//
// [Network] is the network alone, for tests that start nodes in ways of their
// own.
package clustertest
