// Package model explores the link protocol (../../PROTOCOL.md) exhaustively: in
// small configurations it takes every step that nodes, links and programs could
// take next, in every order, and looks at each state that this leads to.
//
// It is four models, of which each leaves out what the others have:
//
//	mesh     nodes, their links, consumers, and the messages of programs: routes,
//	         credit, bounces, publishes, questions, keys, leaving (mesh*.go)
//	bulk     large bodies on one link (bulk*.go)
//	window   the amounts of credit on one route: growing, shrinking, REST (window.go)
//	proof    which boot lives at an address (proof.go)
//
// The handshake's decisions are explored in package cluster, with its own code.
//
// A state that breaks a promise is an error, and so is an end that is not a good one,
// and a state from which no good end can be reached; the error is the shortest way
// there. Each rule that a model keeps can be taken out of it ([breach]): the model then
// must find an error, which is the proof that it could (TestRulesAreNeeded).
//
//	go test ./bus/internal/model                          the first states of each configuration
//	go test ./bus/internal/model -states 4000000 -timeout 3h -v
//	go test ./bus/internal/model -run Kept/mesh/closing -v
//
// # What is left out
//
// A critical section is one step here. Time is "may happen now". In the mesh a message
// costs its route one unit, in a window of one or two. The connection is two queues, in
// which frames that go first may be read before frames in order that were written
// before them: so it is as if a node could write at any time later. An end of a link
// notices at any time that the connection is broken, and has read any part of what was
// under way.
package model
