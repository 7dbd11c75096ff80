//go:build race

package cluster_test

// racing says that the race detector is on, which makes simulations ten times
// slower.
const racing = true
