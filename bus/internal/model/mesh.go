package model

import "fmt"

const (
	maxNodes     = 4
	maxConsumers = 5 // over a run
	maxMessages  = 5
	maxNumbers   = 3 // of a node's routes
	maxAddresses = 2
	maxPairs     = maxNodes * (maxNodes - 1) / 2
)

// mesh is nodes with a link between each two of them, consumers, and the messages that
// programs and handlers send.
type mesh struct {
	config
	out breaches
}

// config is what there is, and what may happen.
type config struct {
	nodes     int
	consumers []consumerConfig
	messages  []messageConfig
	window    int8 // messages that may be unsettled on a route
	leaver    nodeSet
	unlinked  [][2]int // nodes without a link at first
	keyed     bool     // sends have a key, the same one
	slow      bool     // routes are written some time after they have changed
	lazy      bool     // credit is written some time after it is owed
	restart   bool     // a node that has left is started again at once
	cancel    bool     // callers may give up at any time
	late      bool     // a deadline comes where nothing else can

	breaks, crashes, relinks, forced uint8 // how often

	graceful bool // nothing may be lost
}

type nodeSet uint8

func nodes(ns ...int) (set nodeSet) {
	for _, n := range ns {
		set |= 1 << n
	}
	return set
}

func (set nodeSet) has(n int) bool { return set>>n&1 != 0 }

const (
	kindSend uint8 = iota
	kindRequest
	kindPublish
	kindQuestion // a reply that asks, to a request from another node
)

type messageConfig struct {
	from, address, kind uint8
	by                  int  // the message whose handler sends it; -1: a program does
	awaits              bool // that handler waits for its end
}

type consumerConfig struct {
	node, address uint8
	closes        bool
	hears         bool // publishes only
	later         bool // it is registered later,
	after         int  // when that consumer has been closed; -1: at any time
}

// What a link has been told of a consumer.
const (
	untold    uint8 = iota
	toAdd           // its addition is to be written
	added           // it is written
	known           // and acknowledged
	toRemove        // the removal is to be written
	removed         // it is written
	forgotten       // and acknowledged
)

const (
	unborn uint8 = iota
	live
	closing // its number is a tombstone
	freed   // its number may be used again
)

// entry is a message at a consumer, and the link that it came on.
type entry struct{ message, hops, from, link uint8 }

type consumer struct {
	state, number uint8
	busy          bool
	handles       entry
	mailbox       []entry
	told          [maxNodes]uint8
	knows         nodeSet                       // who has acknowledged the addition
	last          [maxNodes]uint8               // ghost: the latest message handled that was never sent back, by sender
	lastBack      [maxConsumers][maxNodes]uint8 // ghost: the latest that was sent back once, by who sent it back, and sender
}

// route is a consumer as the end of a link knows it.
type route struct {
	state, consumer uint8
	balance, out    int8 // out is what is unsettled
	over            bool // nothing comes back any more: ROUTES_DONE is in
}

const (
	noRoute uint8 = iota
	liveRoute
	goneRoute // removed, and kept until all is settled and back
)

const (
	linkDown uint8 = iota
	linkUp
	linkDialled // accepted, but WELCOME is not read yet
)

// end is one node's end of a link.
type end struct {
	state                     uint8
	mustSayLeaving            bool
	saidLeaving, leavingOK    bool // what this node has said, and heard in answer
	peerLeaves                bool
	saidGoodbye, heardGoodbye bool
	highest                   uint8 // of the numbers announced on the link, and one
	done                      uint8 // ghost: the consumers from which nothing may come back any more
	routes                    [maxNumbers]route
	owed                      [maxConsumers]uint8 // credit
	unacked                   []frame             // ROUTES
}

// pair is the link of two nodes.
type pair struct {
	alive  bool
	closed uint8 // ends that were closed with input unread
	number uint8 // of the link, between those two
	queue  [2][]frame
	ends   [2]end
}

const (
	unsent uint8 = iota
	waiting
	placed
	dead
	refused
	published
)

const (
	notEnded uint8 = iota
	answered
	linkLost
	gaveUp
	unanswered
)

type message struct {
	state, hops uint8
	back        bool  // it was sent back
	backFrom    uint8 // by whom, and one
	pending     uint8 // of a request: at which node, and one
	pendingLink uint8
	ended       uint8   // how
	asked       uint8   // of a question: at which node it waits for an answer, and one
	asks        bool    // a handler has answered it by a question
	left        nodeSet // of a publish: who has not got it yet
	handled     uint8   // how often
	handledBy   uint8   // a set of consumers
	sequence    uint8   // ghost: its place among its sender's
}

// choice is a route that was chosen without being written to: see lookOnce.
type choice struct{ on, message, node, number, consumer, link uint8 }

const (
	running uint8 = iota
	leaving
	finished // GOODBYE is written
	gone
	crashed
)

type meshState struct {
	node     [maxNodes]uint8
	pairs    [maxPairs]pair
	consumer [maxConsumers]consumer
	message  [maxMessages]message
	wait     [maxNodes][maxAddresses][]uint8
	chosen   [maxNodes]choice
	keyLast  [maxNodes]uint8 // ghost: the latest message of the key handled, by sender

	breaks, crashes, relinks, forced, unknown uint8

	broken string
}

func (s *meshState) fail(text string, args ...any) {
	if s.broken == "" {
		s.broken = fmt.Sprintf(text, args...)
	}
}

func (x *mesh) wrong(s *meshState) string { return s.broken }

// place returns where the link of two nodes is, and which end is i's.
func place(i, j int) (at, side int) {
	if i > j {
		at, side = place(j, i)
		return at, 1 - side
	}
	return j*(j-1)/2 + i, 0
}

func (s *meshState) pair(i, j int) *pair { at, _ := place(i, j); return &s.pairs[at] }
func (s *meshState) end(i, j int) *end   { at, side := place(i, j); return &s.pairs[at].ends[side] }

// others yields the nodes but one.
func (x *mesh) others(i int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for j := range x.nodes {
			if j != i && !yield(j) {
				return
			}
		}
	}
}

// consumersOf yields a node's consumers.
func (x *mesh) consumersOf(i int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for c := range x.consumers {
			if int(x.consumers[c].node) == i && !yield(c) {
				return
			}
		}
	}
}

func (x *mesh) start() *meshState {
	s := &meshState{breaks: x.breaks, crashes: x.crashes, relinks: x.relinks, forced: x.forced}
	for j := range x.nodes {
		for i := range j {
			s.pair(i, j).begin()
		}
	}
	for _, u := range x.unlinked {
		*s.pair(u[0], u[1]) = pair{}
	}
	for c, cc := range x.consumers {
		if !cc.later {
			x.startConsumer(s, c, int(cc.node))
		}
	}
	return s
}

func (p *pair) begin() {
	p.alive, p.number = true, 1
	p.ends[0].state, p.ends[1].state = linkUp, linkUp
}

// startConsumer registers a consumer that all linked nodes know.
func (x *mesh) startConsumer(s *meshState, c, i int) {
	cn := &s.consumer[c]
	cn.state, cn.number = live, x.freeNumber(s, i)
	for j := range x.others(i) {
		if s.end(j, i).state == linkUp {
			cn.told[j] = known
			cn.knows |= nodes(j)
			s.end(i, j).highest = max(s.end(i, j).highest, cn.number+1)
			s.end(j, i).routes[cn.number] = route{liveRoute, uint8(c), x.window, 0, false}
		}
	}
}

// freeNumber returns the lowest number that is free, so that one is used again as early
// as rule 3 lets it; maxNumbers if there is none.
func (x *mesh) freeNumber(s *meshState, i int) uint8 {
	for n := range uint8(maxNumbers) {
		used := false
		for c := range x.consumersOf(i) {
			cn := &s.consumer[c]
			used = used || cn.number == n && (cn.state == live || cn.state == closing && !x.out.has(numberAtOnce))
		}
		if !used {
			return n
		}
	}
	return maxNumbers
}

func (s *meshState) isUp(i int) bool { return s.node[i] == running || s.node[i] == leaving }

// push, insert and remove return other slices: states share theirs.
func push[T any](q []T, v T) []T { return insert(q, len(q), v) }

func insert[T any](q []T, i int, v T) []T {
	n := make([]T, 0, len(q)+1)
	return append(append(append(n, q[:i]...), v), q[i:]...)
}

func remove[T any](q []T, i int) []T {
	n := make([]T, 0, len(q))
	return append(append(n, q[:i]...), q[i+1:]...)
}
