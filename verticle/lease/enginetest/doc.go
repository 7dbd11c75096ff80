// Package enginetest tests the stores of packages redis, postgres, etcd and dynamodb
// on the real things, in a module of its own, so that what the tests need reaches no
// user of those. It has nothing but tests, which start the servers on the loopback and
// skip what is not installed:
//
//	apt-get install redis-server postgresql etcd-server
//	npm install -g dynalite
//	go test -C verticle/lease/enginetest ./...
//
// With LEASE_REDIS, LEASE_ETCD (host:port), LEASE_POSTGRES (a connection string) or
// LEASE_DYNALITE (a URL) in the environment, the tests use a server that runs already.
// The figures of the README beside package lease are those of
//
//	go test -C verticle/lease/enginetest -run '^$' -bench .
package enginetest
