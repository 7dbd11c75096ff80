// Package leasetest has what tests of leases need: [Conformance] and [Processes] are
// the tests that a [lease.Store] must pass, and [Store] makes a store that fails at a
// word.
package leasetest
