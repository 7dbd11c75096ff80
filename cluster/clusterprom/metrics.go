package clusterprom

// A metric is one of the names.
type metric struct {
	name   string
	help   string
	labels []string
}

// metrics are all, without the namespace.
var metrics = []metric{
	{"build_info", "What the process was built of; always 1.", []string{"version", "revision", "goversion"}},
	{"node_info", "Who the node is; always 1.", []string{"node", "cluster", "secured"}},
	{"node_state", "Whether the node is in that state.", []string{"state"}},
	{"node_serving", "Whether the node is fit to serve.", nil},
	{"node_trouble", "How many things the node says are wrong.", nil},
	{"node_start_time_seconds", "When the node started, in seconds since 1970.", nil},
	{"addresses_left_out", "Addresses that have no series of their own, and are added up as other.", nil},
	{"cluster_members", "Members of the cluster as this node knows them.", []string{"status"}},
	{"membership_events_total", "What the node was told of members and links.", []string{"event"}},
	{"link_up", "Whether the node is linked with a member that is alive.", []string{"peer"}},
	{"link_bytes_total", "Bytes that went over the link, in or out.", []string{"peer", "direction"}},
	{"link_queue_bytes", "Bytes that wait to be written to the link.", []string{"peer"}},
	{"link_requests", "Requests of this node that wait for a reply over the link.", []string{"peer"}},
	{"link_unsettled", "Messages that went over the link and are not handled yet.", []string{"peer"}},
	{"link_stalls_total", "Messages that found no room in the link at first.", []string{"peer"}},
	{"link_rtt_seconds", "How long the last ping over the link took.", []string{"peer"}},
	{"eventbus_consumers", "Consumers of the address on all nodes.", []string{"address"}},
	{"eventbus_handlers", "Consumers of the address on this node.", []string{"address"}},
	{"eventbus_waiting", "Messages of this node for which no consumer has room.", []string{"address"}},
	{"eventbus_unsettled", "Messages of this node that consumers have, here or elsewhere.", []string{"address"}},
	{"eventbus_pending", "Messages that wait at consumers of this node.", []string{"address"}},
	{"eventbus_running", "Messages that consumers of this node handle.", []string{"address"}},
	{"eventbus_messages_sent_total", "Messages that this node gave to consumers, here or elsewhere.", []string{"address"}},
	{"eventbus_messages_settled_total", "Of the messages sent: those that were handled, or dropped where they came.", []string{"address"}},
	{"eventbus_messages_delivered_total", "Messages that handlers of this node have handled.", []string{"address"}},
	{"eventbus_messages_rerouted_total", "Messages that were sent back and given to another consumer.", []string{"address"}},
	{"eventbus_messages_failed_total", "Messages whose handler returned an error, or panicked.", []string{"address", "reason"}},
	{"eventbus_messages_discarded_total", "Messages that no handler got, by why.", []string{"address", "reason"}},
	{"eventbus_late_replies_total", "Replies to requests that had ended.", nil},
	{"gossip_messages_total", "Messages of the gossip lane.", []string{"kind"}},
	{"gossip_messages_missed", "Messages of the gossip lane that are known to be missing; fewer when one comes late.", nil},
	{"auth_failures_total", "Nodes that were refused for somebody to mend, by this one or by the other.", []string{"by", "reason"}},
	{"connections_rejected_total", "Connections that were closed before they said who they are.", []string{"reason"}},
	{"dial_errors_total", "Dials that reached nobody, or another node.", nil},
	{"discovery_errors_total", "Questions to discovery that failed.", nil},
	{"accept_errors_total", "Connections that the system could not give.", nil},
	{"packets_rejected_total", "Packets that were not from a node of the cluster, or damaged.", nil},
	{"packets_missed_total", "Times that a member answered gossip over TCP after it had not over UDP.", nil},
	{"gossip_behind_total", "Times that gossip dropped messages since it was behind.", nil},
	{"verticles", "Verticles that are deployed, and of those that failed the last ones.", []string{"state"}},
	{"verticle_restarts", "How often verticles of the name that are deployed were restarted.", []string{"verticle"}},
	{"verticle_busy_seconds", "For how long verticles of the name that are deployed have held their turns.", []string{"verticle"}},
}
