// Package clusterprom gives the figures of a node to Prometheus. It is a module of its
// own, so that only those who want it have its dependencies.
//
//	reg := prometheus.NewRegistry()
//	reg.MustRegister(clusterprom.New(node))
//	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
//
// Each node is scraped for itself: what is summed over the cluster, Prometheus sums. The
// figures are those of a snapshot of package inspect, which is made once a second at
// most, however many scrape; nothing is counted twice, and no message pays for them.
//
// # Names
//
// All begin with runrig_ (see [WithNamespace]). Board has a dashboard for Grafana and
// Alerts rules for Prometheus, which use these names:
//
//	build_info{version,revision,goversion}, node_info{node,cluster,secured}   1
//	node_state{state}                          1 for the state that the node is in
//	node_serving, node_trouble                 whether it is fit to serve; how much it says is wrong
//	node_start_time_seconds
//	cluster_members{status}                    alive, leaving, left, failed
//	membership_events_total{event}             joined, failed, linked, unlinked, …
//	link_up{peer}                              of each member that is alive: 1 or 0
//	link_bytes_total{peer,direction}, link_queue_bytes{peer}, link_requests{peer},
//	link_unsettled{peer}, link_stalls_total{peer}, link_rtt_seconds{peer}
//	eventbus_consumers{address}                on all nodes
//	eventbus_handlers{address}                 consumers of this node
//	eventbus_waiting{address}                  messages of this node for which no consumer has room
//	eventbus_unsettled{address}                messages of this node that consumers have
//	eventbus_pending{address}                  messages that wait at this node's consumers
//	eventbus_running{address}                  messages that those handle
//	eventbus_messages_sent_total{address}
//	eventbus_messages_settled_total{address}
//	eventbus_messages_delivered_total{address} handled by this node
//	eventbus_messages_failed_total{address,reason}     error or panic
//	eventbus_messages_discarded_total{address,reason}  expired, canceled, undecodable, dropped, cut_off,
//	                                                   skipped, dead_letter, unknown
//	eventbus_messages_rerouted_total{address}, eventbus_late_replies_total
//	gossip_messages_total{kind}                sent, received, duplicate, old, malformed
//	gossip_messages_missed                     it falls when one comes late
//	auth_failures_total{by,reason}             secret, cluster, version; by self or peer
//	connections_rejected_total{reason}
//	dial_errors_total, discovery_errors_total, accept_errors_total, packets_rejected_total,
//	packets_missed_total, gossip_behind_total
//	verticles{state}, verticle_restarts{verticle}, verticle_busy_seconds{verticle}
//	addresses_left_out
//
// # Addresses
//
// At most 200 addresses have series of their own ([WithMaxAddresses]), in the order in
// which they became known, the busiest first where several did at once: what has a
// series keeps it, as a counter must not go back. All others, those that the bus has
// forgotten too, are added up as the address "other". A label has no reply's address
// and no message's id.
package clusterprom
