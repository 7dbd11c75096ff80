package inspect

import "time"

// Version is that of the documents which this package makes.
const Version = 1

// Node is what one node tells of itself, at one moment.
type Node struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"` // by the node's clock
	Self    Self      `json:"self"`
	Process Process   `json:"process"`

	Members   []Member   `json:"members,omitempty"` // all that it knows, itself too
	Links     []Link     `json:"links"`
	Addresses []Address  `json:"addresses"` // in order of the address
	Verticles []Verticle `json:"verticles"` // parents before children
	LeftOut   LeftOut    `json:"left_out,omitzero"`

	Messages  Messages   `json:"messages"`            // of all addresses
	Durations *Durations `json:"durations,omitempty"` // the same
	Routes    *Routes    `json:"routes,omitempty"`    // consumers that other nodes are to know
	Gossip    Gossip     `json:"gossip"`
	Network   Network    `json:"network"`
	Changes   Changes    `json:"changes"`
}

// Self is who a node is and how it is set up.
type Self struct {
	ID      string            `json:"id"` // name and boot id, which together are unique
	Name    string            `json:"name"`
	Boot    string            `json:"boot"`
	Address string            `json:"address"` // at which others reach it
	Tags    map[string]string `json:"tags,omitempty"`
	Started time.Time         `json:"started"`

	Cluster    string `json:"cluster"`
	Secured    bool   `json:"secured"` // by a secret
	Bound      string `json:"bound"`   // where it listens
	MinVersion int    `json:"min_protocol"`
	MaxVersion int    `json:"max_protocol"`

	State   string   `json:"state"`   // see cluster.State
	Serving bool     `json:"serving"` // see cluster.Node.Serving
	Trouble []string `json:"trouble,omitempty"`
}

// Process is the process that a node runs in.
type Process struct {
	PID        int    `json:"pid"`
	Program    string `json:"program"` // path of its main package
	Library    string `json:"library"` // version of this module in it; "(devel)" from a checkout
	Revision   string `json:"revision,omitempty"`
	Go         string `json:"go"`
	Platform   string `json:"platform"`
	CPUs       int    `json:"cpus"` // that it may use
	Goroutines uint64 `json:"goroutines"`
	Heap       uint64 `json:"heap_bytes"`   // of live and dead objects
	Memory     uint64 `json:"memory_bytes"` // that Go has of the system
	GCs        uint64 `json:"gc_cycles"`
}

// Member is a member of the cluster as the node knows it.
type Member struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Boot    string            `json:"boot"`
	Address string            `json:"address"`
	Tags    map[string]string `json:"tags,omitempty"`
	Status  string            `json:"status"` // alive, leaving, left or failed
	Linked  bool              `json:"linked"`
	Since   time.Time         `json:"since,omitzero"`  // when the link came up; of the node itself, when it started
	Error   string            `json:"error,omitempty"` // why there is no link

	// Failed is when the member failed, as far as the node noticed: when its link broke,
	// if it was linked. It is absent while it has not failed, and where that was before
	// the node had an inspector.
	Failed time.Time `json:"failed,omitzero"`
}

// Link is the connection to another node, over which messages go.
type Link struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Boot    string    `json:"boot"`
	Address string    `json:"address"`
	Since   time.Time `json:"since"`

	BytesIn   *uint64  `json:"bytes_in,omitempty"`
	BytesOut  *uint64  `json:"bytes_out,omitempty"`
	Queued    *uint64  `json:"queued_bytes,omitempty"`       // not written yet
	Sent      *uint64  `json:"sent,omitempty"`               // messages
	Unsettled *uint64  `json:"unsettled,omitempty"`          // of those: not handled yet
	Coming    *uint64  `json:"unsettled_in,omitempty"`       // messages from there that are not handled yet
	Requests  *uint64  `json:"requests,omitempty"`           // that wait for a reply from there
	Stalls    *uint64  `json:"stalls,omitempty"`             // how often a message found no room in the link
	Believed  *Routes  `json:"believed,omitempty"`           // what this node knows of the other's consumers: see Ghosts
	Silent    *float64 `json:"silent_seconds,omitempty"`     // since something was read
	RoundTrip *float64 `json:"round_trip_seconds,omitempty"` // of the link's own ping
}

// Address is what a node knows of an address; see bus.AddressStats.
type Address struct {
	Address   string `json:"address"`
	Consumers int    `json:"consumers"`                // on all nodes
	Local     int    `json:"local"`                    // of those, on this node
	Hearing   int    `json:"published_only,omitempty"` // of Consumers, those that take no turn
	Paused    int    `json:"paused,omitempty"`
	Waiting   int    `json:"waiting,omitempty"`   // messages of this node for which no consumer has room
	Unsettled int    `json:"unsettled,omitempty"` // messages of this node that consumers have
	Queued    int    `json:"queued,omitempty"`    // messages that wait at this node's consumers
	Running   int    `json:"running,omitempty"`   // messages that those handle
	Messages
	Durations *Durations `json:"durations,omitempty"`
}

// Consumers is how many consumers of an address a node has.
type Consumers struct {
	Node    string `json:"node"` // its ID
	Count   int    `json:"count"`
	Hearing int    `json:"published_only,omitempty"` // of those, that take no turn
}

// Routes are the consumers of a node in short; see bus.RoutesDigest.
type Routes struct {
	Count  int    `json:"count"`
	Digest string `json:"digest"` // 16 digits of hexadecimal
}

// Durations are how long things took; see bus.Durations. What has not happened is absent.
type Durations struct {
	Request  *Spread `json:"request,omitempty"`
	Handling *Spread `json:"handling,omitempty"`
	Stall    *Spread `json:"stall,omitempty"`
}

// Spread is a histogram of durations in short.
type Spread struct {
	Count uint64  `json:"count"`
	Sum   float64 `json:"sum_seconds"`
	P50   float64 `json:"p50_seconds"`
	P99   float64 `json:"p99_seconds"`

	// Buckets are those of a bus.Histogram up to the last that is not 0: the first is of
	// what took less than 128 ns, each other up to double as long as the one before it.
	// They are there if the Query asked for them.
	Buckets []uint64 `json:"buckets,omitempty"`
}

// Messages are counters of messages since the node started; see bus.Stats.
type Messages struct {
	Sent           uint64 `json:"sent"`
	SentLocal      uint64 `json:"sent_local,omitempty"` // of Sent: to consumers of the same node
	Published      uint64 `json:"published,omitempty"`  // of Sent: copies of a publish
	Requested      uint64 `json:"requested,omitempty"`  // of Sent: requests; all others are sends
	Settled        uint64 `json:"settled"`
	Bounced        uint64 `json:"bounced,omitempty"`
	Unknown        uint64 `json:"unknown,omitempty"`
	Rerouted       uint64 `json:"rerouted,omitempty"`
	DeadLetters    uint64 `json:"dead_letters,omitempty"`
	Skipped        uint64 `json:"skipped,omitempty"`
	LateReplies    uint64 `json:"late_replies,omitempty"`
	Handled        uint64 `json:"handled"`
	Failed         uint64 `json:"failed,omitempty"` // sends and publishes
	FailedRequests uint64 `json:"failed_requests,omitempty"`
	Panics         uint64 `json:"panics,omitempty"`
	Expired        uint64 `json:"expired,omitempty"`
	Canceled       uint64 `json:"canceled,omitempty"`
	Undecodable    uint64 `json:"undecodable,omitempty"`
	Dropped        uint64 `json:"dropped,omitempty"`
	CutOff         uint64 `json:"cut_off,omitempty"`
	Forgotten      uint64 `json:"forgotten,omitempty"`

	Requests Requests `json:"requests,omitzero"` // of this node, that have ended
}

// Requests are requests by how they ended; see bus.RequestStats.
type Requests struct {
	Replied    uint64 `json:"replied,omitempty"`
	Refused    uint64 `json:"refused,omitempty"`
	NoConsumer uint64 `json:"no_consumer,omitempty"`
	Busy       uint64 `json:"busy,omitempty"`
	LinkLost   uint64 `json:"link_lost,omitempty"`
	TimedOut   uint64 `json:"timed_out,omitempty"`
	Canceled   uint64 `json:"canceled,omitempty"`
	Other      uint64 `json:"other,omitempty"`
}

// Gossip are counters of the gossip lane; see bus.GossipStats.
type Gossip struct {
	Sent       uint64 `json:"sent"`
	Received   uint64 `json:"received"`
	Duplicates uint64 `json:"duplicates"`
	Old        uint64 `json:"old"`
	Missed     uint64 `json:"missed"`
	Malformed  uint64 `json:"malformed"`
}

// Network are counters of a node's port; see cluster.Stats.
type Network struct {
	Refused   map[string]uint64 `json:"refused,omitempty"`    // nodes that this one refused, by reason; what is zero is absent
	RefusedBy map[string]uint64 `json:"refused_by,omitempty"` // by others
	Strangers map[string]uint64 `json:"strangers,omitempty"`  // connections that did not say who they are, by what became of them

	AcceptErrors    uint64 `json:"accept_errors"`
	Questions       uint64 `json:"questions"`
	DialErrors      uint64 `json:"dial_errors"`
	DiscoveryErrors uint64 `json:"discovery_errors"`
	BadPackets      uint64 `json:"bad_packets"`
	Packetless      uint64 `json:"packetless"`
	GossipBehind    uint64 `json:"gossip_behind"`
	GossipDropped   uint64 `json:"gossip_dropped"`
	GossipLate      uint64 `json:"gossip_late"`
	EventsDropped   uint64 `json:"events_dropped"`
}

// Changes are how often the node was told of a change, by its kind, since somebody
// first looked: see [Event].
type Changes map[string]uint64

// Verticle is a deployment; see verticle.Info.
type Verticle struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Parent    string    `json:"parent,omitempty"` // its ID
	State     string    `json:"state"`
	Deployed  time.Time `json:"deployed"`
	Since     time.Time `json:"since,omitzero"` // when it started the last time
	Consumers []string  `json:"consumers,omitempty"`
	Restarts  int       `json:"restarts,omitempty"`
	Failure   string    `json:"failure,omitempty"` // the last one
	Failed    time.Time `json:"failed,omitzero"`   // when
	Stack     string    `json:"stack,omitempty"`   // of its panic
	Busy      float64   `json:"busy_seconds"`      // for how long its turn was held, of all the time since Deployed
}

// LeftOut is how many of a kind are not in the snapshot as there are too many; and
// what the addresses among them have counted, with those that the bus has forgotten.
type LeftOut struct {
	Members   int       `json:"members,omitempty"`
	Links     int       `json:"links,omitempty"`
	Addresses int       `json:"addresses,omitempty"`
	Verticles int       `json:"verticles,omitempty"`
	Consumers int       `json:"consumers,omitempty"` // of verticles
	Rest      *Messages `json:"rest,omitempty"`      // of addresses
}

// Cluster is what all nodes tell, asked by one of them.
type Cluster struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	Asker   string    `json:"asker"` // ID of the node that asked
	Took    float64   `json:"took_seconds"`
	Members []Member  `json:"members"`           // as the asker knows them
	Nodes   []Node    `json:"nodes"`             // that answered, in order of their IDs; without their members
	Missing []Missing `json:"missing,omitempty"` // that live and have not
	LeftOut LeftOut   `json:"left_out,omitzero"` // of Members
}

// Missing is a node that did not answer.
type Missing struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Boot    string `json:"boot"`
	Address string `json:"address"`
	Linked  bool   `json:"linked"`
	Reason  string `json:"reason"`
}

// Event is a change that a node was told of.
type Event struct {
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"`             // one of the Kinds
	Node   string    `json:"node"`             // ID of the node that tells
	Member string    `json:"member,omitempty"` // ID of the member it is about
	Name   string    `json:"name,omitempty"`   // of the verticle, or of the counter
	State  string    `json:"state,omitempty"`  // of the verticle
	Count  uint64    `json:"count,omitempty"`  // of messages
	Error  string    `json:"error,omitempty"`
}

// The kinds of [Event]. All but the last two are those of cluster.Event.
const (
	KindJoined    = "joined"
	KindFailed    = "failed"
	KindLeft      = "left"
	KindForgotten = "forgotten"
	KindLinked    = "linked"
	KindUnlinked  = "unlinked"
	KindRefused   = "refused"
	KindConflict  = "conflict"
	KindUnreached = "unreached"

	KindVerticle = "verticle" // a verticle has another state, was restarted, or has failed
	KindMessages = "messages" // messages were lost, or something else was counted that should not be
)

// Ping is how a member answered a packet.
type Ping struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Address string   `json:"address"`
	Status  string   `json:"status"`
	Linked  bool     `json:"linked"`
	Packet  *float64 `json:"packet_seconds,omitempty"` // the shortest of three over UDP; absent if none was answered
	Error   string   `json:"error,omitempty"`          // why not
}
