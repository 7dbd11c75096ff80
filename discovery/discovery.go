// Package discovery says where the other nodes of a cluster may be.
//
// A [Provider] answers one question: at which addresses is it worth asking for
// other nodes? It is asked again and again for as long as a node lives, first
// quickly, later now and then, so that parts of a cluster that lost each other
// find each other again. Its answer is a hint: an address where nobody answers
// does no harm, and a living node is never dropped because an answer lacks it.
//
// [Static] is a fixed list, [File] and [Env] are lists that others write, [DNS]
// and [SRV] ask a name server (a headless Kubernetes service, AWS Cloud Map),
// and [ProviderFunc] makes a provider of a function. [First], [Merge] and
// [LastGood] combine providers. Package discovery/ecs asks Amazon ECS, and is
// the only one that compiles the AWS SDK. Who writes a provider finds a
// conformance test in discovery/discoverytest.
//
// # Contract for implementers
//
//   - Peers may wait, for as long as its context allows and no longer: it returns soon after the
//     context has ended. It should bound itself too (ten seconds, say), since callers may not.
//   - Peers is called by several goroutines at once.
//   - The returned slice belongs to the caller, who may change it. The provider keeps its own copy
//     of what it wants to remember.
//   - An error means "could not ask", and the list beside it is ignored. An empty list without an
//     error means "nobody else is there". The two must never be confused: a node that takes a
//     failure for an empty answer starts a second cluster. In the same spirit a partial answer is
//     an error: return all that is known to be there, or say that it could not be found out.
//   - An error that will not pass until somebody changes a setting, a name or a permission is marked:
//     [IsMisconfigured] says so. Whoever asks then asks slowly, and says it loudly. One that may
//     pass by itself, a time-out or throttling, is not marked.
//   - The order is the order in which to try. Put first the nodes that are likely to be established
//     members, since one that is only starting knows nobody yet.
//   - The list holds each address once. It may hold the asking node's own address; callers drop it.
//   - An entry is "host:port". Host is an IP address ("10.0.0.7", "[fd00::7]" with a port) or a name
//     that resolves. The port is a number from 1 to 65535 and never missing.
//
// A provider that also knows the place of the node it runs in implements
// [Identifier], one whose list the nodes keep themselves [Registrar], and one that
// notices when its answer changes [Watcher]. One that is an io.Closer is closed when the
// node that it was given to is down. [ClusterOf] tells for which cluster it is asked.
package discovery

import (
	"context"
	"errors"
)

// Provider says where other nodes may be.
type Provider interface {
	// Peers returns the addresses, each as "host:port", at which other nodes
	// may be found, those likely to be established first. It may wait until ctx
	// ends and may be called concurrently. The slice is the caller's. An error
	// means "could not ask", never "nobody there"; one that does not pass by
	// itself is marked by Misconfigured. An empty list without an error means
	// that there is nobody else.
	Peers(ctx context.Context) ([]string, error)
}

// ProviderFunc makes a Provider of a function. The function keeps the contract
// of [Provider].Peers, concurrent calls included. A nil ProviderFunc is an error
// of configuration when it is asked.
type ProviderFunc func(ctx context.Context) ([]string, error)

// Peers calls f.
func (f ProviderFunc) Peers(ctx context.Context) ([]string, error) {
	if f == nil {
		return nil, errNilFunc
	}
	return f(ctx)
}

var errNilFunc = Misconfigured(errors.New("discovery: ProviderFunc is nil; give a function, or Static() where there is nobody to ask"))

// Identifier is implemented by a [Provider] that also knows the place of the
// node it runs in, as a platform's own interface does. It is optional; callers
// look for it by type assertion.
type Identifier interface {
	// Self returns what the provider knows about the node it runs in. It may
	// wait until ctx ends and may be called concurrently. A call that succeeded
	// is followed only by equal answers. The Tags map is the caller's.
	Self(ctx context.Context) (Self, error)
}

// Self describes the node that asks. An empty field means "not known".
type Self struct {
	// Name is unique among all nodes of the cluster and is never reused, like
	// the id of an ECS task.
	Name string
	// Addr is the address to advertise, as others reach it: "ip", meaning that
	// the node is reached at the port it is bound to, or "ip:port" ("[ip]:port"
	// for IPv6) where it is reached at another one.
	Addr string
	// Tags are facts that other nodes may want to know, such as "zone". Nil is
	// an empty map.
	Tags map[string]string
}
