// Package dashboard is a page that shows a cluster, live, from any of its nodes: who is
// there and linked with whom, which addresses there are and how they fare, what is
// deployed, and what happens. It is an [http.Handler] that a program mounts where it
// likes; nothing serves it by itself.
//
//	node, err := cluster.Join(ctx, eb, cluster.Config{ … })
//	mux.Handle("/debug/runrig/", dashboard.New(node, dashboard.Options{}))
//
// The command "runrig ui" serves the same page on the own host, by way of a node.
//
// # Who may look
//
// Without [Options].Authorize only who is on the same host: the connection and the Host
// header must be of the loopback, and no proxy may have passed the request on. All
// others are refused, with a line that says why. With it, all whom it admits. Who may
// look sees names, addresses, tags and errors, but no message, and can change nothing,
// unless Options.Try is set.
//
// The page loads nothing from elsewhere, has no cookie, stores nothing but the choice
// between dark and light, and shows all text as text. Its policy (CSP) allows no inline
// script or style, and no frame around it. What is not a GET must come from the page
// itself.
//
// # What it costs
//
// Nothing while nobody looks. While somebody does, the node asks the cluster once a
// second, and at once when a member or link comes or goes: one question for all who
// look, at most [MaxTabs] at once, and over 200 with status 503. A question that takes
// long is asked less often. Each tab gets what has changed by server-sent events; one
// that reads slowly misses states between, never the newest. A tab in the background
// looks no more until it is shown again.
//
// All of up to 50,000 addresses, over all nodes, are in the tables; of more, each node
// tells those with the most trouble, and the page says how many are left out.
package dashboard
