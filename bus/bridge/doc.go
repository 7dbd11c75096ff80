// Package bridge lets programs that are not nodes talk over a bus: browsers, and
// programs in other languages, by the protocols of the bridges of Vert.x, whose
// clients work unmodified.
//
//	b, err := bridge.New(eb, bridge.Config{
//		Rules: []bridge.Rule{
//			{Direction: bridge.In, Address: "orders"},
//			{Direction: bridge.In | bridge.Out, Prefix: "chat."},
//		},
//	})
//	mux.Handle("/eventbus/", http.StripPrefix("/eventbus", b)) // browsers
//	go b.ServeTCP(listener)                                    // other languages
//
// A client sends, publishes, requests, and registers at addresses, where it is a
// consumer of the bus like any other: it has its turn, is sent messages in order, can
// be asked and answers. Its bodies are JSON, which goes through as it is. The README
// of this directory has the wire, every answer, and where they differ from the original's.
//
// # What a client may do
//
// Nothing that no [Rule] allows, either way; then what [Config.Authorize] agrees to.
// Replies need no rule. Rules look at the address, the body and at authorities that
// the program grants to a client ([Client.Grant]), when it connects or later, say as
// it has sent a password.
//
// # What a client may cost
//
// [Limits] bound its frames, consumers and requests. One that does not read is cut
// after [Limits.Write]; until then its messages wait in the window of its consumers,
// and those who send there wait, or their publishes skip it, as at any consumer that
// is slow. One whose sends find no room is not read meanwhile. An idle client has one
// goroutine and, over TCP, 4 KiB to read into, over a WebSocket 2 KiB.
//
// Each client is a consumer of the bus at each address that it is registered at, which
// all nodes know. Where very many hear the same news, [Rule.PublishedOnly] makes them one
// consumer, and each publish is encoded once; it then waits for each client in an outbox
// ([Limits.Outbox]).
//
// # What runs where
//
// A connection has a goroutine that reads, asks the hook, and calls the bus; each
// request of a client has one until its reply. What comes for a client is written by
// the handler of its consumer, which the bus runs; by a rule with PublishedOnly a
// goroutine of the client's writes while there is something. Hooks are called concurrently for
// different clients, and Receive beside the others for one. A panic of a hook ends the
// frame, not the process.
package bridge
