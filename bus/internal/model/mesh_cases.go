package model

func sends(from, address int, kind uint8) messageConfig {
	return messageConfig{uint8(from), uint8(address), kind, -1, false}
}

// relays is a message that the handler of another one sends.
func relays(from, address int, kind uint8, by int) messageConfig {
	return messageConfig{uint8(from), uint8(address), kind, by, true}
}

func at(node, address int) consumerConfig {
	return consumerConfig{node: uint8(node), address: uint8(address)}
}

func closes(c consumerConfig) consumerConfig { c.closes = true; return c }

func hears(c consumerConfig) consumerConfig { c.hears = true; return c }

// later is a consumer that is registered once another has been closed, or at any time.
func later(c consumerConfig, after int) consumerConfig {
	c.later, c.after = true, after
	return c
}

const anyTime = -1

type (
	cs = []consumerConfig
	ms = []messageConfig
)

// A meshCase is small if all of its states can be searched within a second or so.
type meshCase struct {
	name  string
	large bool // it is walked at random, not searched
	config
}

const (
	sd = kindSend
	rq = kindRequest
	pb = kindPublish
)

// meshCases are by what they are about, the smallest first.
func meshCases() []meshCase {
	all := append(closingCases(), leavingCases()...)
	all = append(all, publishCases()...)
	all = append(all, orderCases()...)
	return append(append(all, faultCases()...), partialCases()...)
}

func closingCases() []meshCase {
	return []meshCase{
		{"closing", false, config{nodes: 3, window: 2, graceful: true, slow: true,
			consumers: cs{closes(at(1, 0)), at(2, 0), at(0, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, rq), sends(2, 0, sd)}}},
		{"closing small", false, config{nodes: 2, window: 2, graceful: true, slow: true,
			consumers: cs{closes(at(1, 0)), at(0, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, rq)}}},
		{"two close", false, config{nodes: 3, window: 1, graceful: true,
			consumers: cs{closes(at(1, 0)), closes(at(2, 0)), at(0, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, rq)}}},
		{"number again", false, config{nodes: 2, window: 2, graceful: true, slow: true, lazy: true,
			consumers: cs{closes(at(1, 0)), at(0, 0), later(at(1, 1), 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, rq), sends(0, 1, sd), sends(0, 1, sd)}}},
		{"number again of one address", false, config{nodes: 2, window: 2, graceful: true, slow: true, lazy: true,
			consumers: cs{closes(at(1, 0)), at(0, 0), later(at(1, 0), 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd)}}},
		{"number again for two", false, config{nodes: 3, window: 1, graceful: true, slow: true,
			consumers: cs{closes(at(1, 0)), at(2, 0), later(at(1, 1), 0)}, messages: ms{sends(0, 0, sd), sends(0, 1, sd), sends(2, 0, rq), sends(2, 1, sd)}}},
		{"late news", false, config{nodes: 2, window: 1, graceful: true, slow: true,
			consumers: cs{later(at(1, 0), anyTime), at(0, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd)}}},
		{"given up", false, config{nodes: 2, window: 1, cancel: true, slow: true, lazy: true,
			consumers: cs{closes(at(1, 0)), at(1, 0)}, messages: ms{sends(0, 0, rq), sends(0, 0, rq), sends(0, 0, sd)}}},
		{"question", false, config{nodes: 2, window: 1, graceful: true, leaver: nodes(1),
			consumers: cs{at(1, 0), at(0, 0)}, messages: ms{sends(0, 0, rq), relays(1, 0, kindQuestion, 0), sends(0, 0, rq)}}},
		{"question to a leaver", false, config{nodes: 2, window: 1, graceful: true, leaver: nodes(0),
			consumers: cs{at(1, 0)}, messages: ms{sends(0, 0, rq), relays(1, 0, kindQuestion, 0)}}},
		{"question of one that has returned", false, config{nodes: 2, window: 1, graceful: true, leaver: nodes(0),
			consumers: cs{at(1, 0)}, messages: ms{sends(0, 0, rq), {from: 1, kind: kindQuestion, by: 0}}}},
		{"question given up", false, config{nodes: 2, window: 1, cancel: true,
			consumers: cs{at(1, 0)}, messages: ms{sends(0, 0, rq), relays(1, 0, kindQuestion, 0), sends(0, 0, sd)}}},
		{"question in a break", false, config{nodes: 2, window: 1, breaks: 1, relinks: 1, late: true,
			consumers: cs{at(1, 0)}, messages: ms{sends(0, 0, rq), relays(1, 0, kindQuestion, 0), sends(0, 0, rq)}}},
	}
}

func leavingCases() []meshCase {
	return []meshCase{
		{"leave", false, config{nodes: 3, window: 2, graceful: true, leaver: nodes(1), lazy: true,
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd), sends(0, 0, sd)}}},
		{"leave small", false, config{nodes: 2, window: 2, graceful: true, leaver: nodes(1), lazy: true,
			consumers: cs{at(1, 0), at(0, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, rq), sends(1, 0, rq)}}},
		{"leave mixed", false, config{nodes: 3, window: 2, graceful: true, leaver: nodes(1), lazy: true,
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, rq), sends(0, 0, sd), sends(0, 0, rq), sends(2, 0, sd)}}},
		{"leaver sends", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0), lazy: true,
			consumers: cs{at(1, 0), at(2, 0), at(0, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, rq), sends(1, 0, sd)}}},
		{"leaver relays", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(1),
			consumers: cs{at(1, 0), at(2, 0), at(2, 1)}, messages: ms{sends(0, 0, rq), relays(1, 1, rq, 0), sends(0, 0, sd)}}},
		{"two leave, one message", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0, 1),
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, sd)}}},
		{"two leave small", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0, 1), lazy: true,
			consumers: cs{at(0, 0), at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, rq), sends(0, 0, sd)}}},
		{"two leave", false, config{nodes: 3, window: 2, graceful: true, leaver: nodes(0, 1),
			consumers: cs{at(0, 0), at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd), sends(1, 0, rq)}}},
		{"two leave, lazy", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0, 1), lazy: true,
			consumers: cs{at(0, 0), at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, rq), sends(1, 0, rq)}}},
		{"two leave and relay", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0, 1),
			consumers: cs{at(1, 0), at(2, 0), at(0, 1), at(2, 1)}, messages: ms{sends(0, 0, rq), relays(1, 1, rq, 0)}}},
		{"peer closes after LEAVING_OK", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0), slow: true, late: true,
			consumers: cs{closes(at(1, 0)), at(2, 0), at(0, 1)}, messages: ms{sends(2, 1, rq), relays(0, 0, rq, 0), sends(0, 0, sd)}}},
		{"peer comes after LEAVING_OK", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0, 1), late: true,
			consumers: cs{at(1, 0), later(at(2, 0), anyTime)}, messages: ms{sends(0, 0, sd)}}},
		{"newcomer", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0, 1), late: true, relinks: 2, unlinked: [][2]int{{0, 2}, {1, 2}},
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, rq)}}},
		{"successor", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(1), restart: true,
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, rq)}}},
		{"late addition", false, config{nodes: 3, window: 1, graceful: true, slow: true, leaver: nodes(1),
			consumers: cs{later(at(1, 0), anyTime), at(2, 0)}, messages: ms{sends(0, 0, sd)}}},
		{"handover", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0, 1), late: true,
			consumers: cs{at(1, 0), later(at(2, 0), 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd)}}},
		{"handover small", false, config{nodes: 2, window: 1, graceful: true, leaver: nodes(0), late: true,
			consumers: cs{closes(at(1, 0)), later(at(1, 0), 0)}, messages: ms{sends(0, 0, sd)}}},
		{"handover between leavers", false, config{nodes: 2, window: 1, graceful: true, leaver: nodes(0, 1), late: true,
			consumers: cs{closes(at(1, 0))}, messages: ms{sends(0, 0, sd)}}},
		{"close, then leave", false, config{nodes: 3, window: 1, graceful: true, slow: true, leaver: nodes(1),
			consumers: cs{closes(at(1, 0)), at(2, 0)}, messages: ms{sends(0, 0, rq), sends(0, 0, sd)}}},
		{"number again, then leave", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0),
			consumers: cs{closes(at(1, 0)), at(2, 0), later(at(1, 0), 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, rq)}}},
		{"given up in a leave", false, config{nodes: 3, window: 1, cancel: true, leaver: nodes(1), lazy: true,
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, rq), sends(0, 0, rq)}}},
		{"four nodes", false, config{nodes: 4, window: 1, graceful: true, leaver: nodes(0, 1),
			consumers: cs{at(1, 0), at(2, 0), at(3, 0)}, messages: ms{sends(0, 0, rq)}}},
	}
}

// partialCases have nodes that are never linked with each other, as those would be that have
// no need of each other.
func partialCases() []meshCase {
	apart := [][2]int{{1, 2}}
	return []meshCase{
		{"apart, closing", false, config{nodes: 3, window: 1, graceful: true, slow: true, unlinked: apart,
			consumers: cs{closes(at(1, 0)), at(2, 0)}, messages: ms{sends(0, 0, rq), sends(0, 0, sd)}}},
		{"apart, consumer leaves", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(1), unlinked: apart,
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, rq), sends(0, 0, sd)}}},
		{"apart, caller leaves", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0), unlinked: apart,
			consumers: cs{closes(at(1, 0)), at(2, 0)}, messages: ms{sends(0, 0, rq), sends(0, 0, sd)}}},
		{"apart, publish", false, config{nodes: 3, window: 1, graceful: true, slow: true, unlinked: apart,
			consumers: cs{closes(at(1, 0)), at(2, 0)}, messages: ms{sends(0, 0, pb), sends(0, 0, pb)}}},
		{"apart, relay", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0), late: true, unlinked: apart,
			consumers: cs{at(0, 0), at(2, 1)}, messages: ms{sends(1, 0, rq), relays(0, 1, rq, 0)}}},
		{"apart, breaks", false, config{nodes: 3, window: 1, breaks: 1, relinks: 1, late: true, unlinked: apart,
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, rq), sends(0, 0, sd)}}},
		{"apart, handover", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(0), late: true, unlinked: apart,
			consumers: cs{closes(at(2, 0)), later(at(2, 0), 0)}, messages: ms{sends(0, 0, sd)}}},
	}
}

func publishCases() []meshCase {
	return []meshCase{
		{"publish", false, config{nodes: 2, window: 2, graceful: true, slow: true,
			consumers: cs{at(1, 0), later(at(1, 0), anyTime), at(0, 0)}, messages: ms{sends(0, 0, pb), sends(0, 0, pb), sends(0, 0, sd)}}},
		{"publish to the short-lived", false, config{nodes: 2, window: 2, graceful: true, slow: true,
			consumers: cs{at(1, 0), closes(later(at(1, 0), anyTime)), at(0, 0)}, messages: ms{sends(0, 0, pb), sends(0, 0, pb)}}},
		{"publish and close", false, config{nodes: 2, window: 2, graceful: true, slow: true,
			consumers: cs{closes(at(1, 0)), at(1, 0), later(at(1, 1), 0)}, messages: ms{sends(0, 0, pb), sends(0, 0, sd), sends(0, 1, sd)}}},
		{"publisher leaves", false, config{nodes: 2, window: 2, graceful: true, leaver: nodes(0), slow: true,
			consumers: cs{closes(at(1, 0)), at(1, 0)}, messages: ms{sends(0, 0, pb), sends(0, 0, sd)}}},
		{"publisher and consumer leave", false, config{nodes: 3, window: 2, graceful: true, leaver: nodes(0, 1),
			consumers: cs{at(1, 0), at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, pb), sends(0, 0, sd)}}},
		{"publish to what hears it only", false, config{nodes: 2, window: 2, graceful: true, slow: true, late: true,
			consumers: cs{closes(hears(at(1, 0))), closes(at(1, 0)), hears(at(0, 0)), later(at(0, 0), 1)}, messages: ms{sends(0, 0, pb), sends(0, 0, sd)}}},
		{"leaver that hears publishes only", false, config{nodes: 3, window: 1, graceful: true, leaver: nodes(1), late: true,
			consumers: cs{hears(at(1, 0)), at(1, 0), hears(at(2, 0)), at(2, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, pb)}}},
	}
}

func orderCases() []meshCase {
	return []meshCase{
		{"key of one that closes", false, config{nodes: 3, window: 2, graceful: true, keyed: true, slow: true,
			consumers: cs{closes(at(1, 0)), at(2, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd), sends(0, 0, sd)}}},
		{"key of one that leaves", false, config{nodes: 3, window: 2, graceful: true, keyed: true, leaver: nodes(1),
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd), sends(0, 0, sd)}}},
		{"key of two that close", false, config{nodes: 3, window: 1, graceful: true, keyed: true, slow: true,
			consumers: cs{closes(at(1, 0)), closes(at(2, 0)), at(0, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd), sends(0, 0, sd)}}},
		{"key of two, one window", false, config{nodes: 3, window: 2, graceful: true, keyed: true,
			consumers: cs{closes(at(1, 0)), closes(at(2, 0)), at(0, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd), sends(0, 0, sd)}}},
		{"key of two, two messages", false, config{nodes: 3, window: 2, graceful: true, keyed: true,
			consumers: cs{closes(at(1, 0)), closes(at(2, 0)), at(0, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd)}}},
		{"key of a number again", false, config{nodes: 2, window: 2, graceful: true, keyed: true, slow: true,
			consumers: cs{closes(at(1, 0)), later(at(1, 0), 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd), sends(0, 0, sd)}}},
	}
}

func faultCases() []meshCase {
	return []meshCase{
		{"break", false, config{nodes: 2, window: 2, breaks: 1, relinks: 1, late: true,
			consumers: cs{at(1, 0), at(0, 0)}, messages: ms{sends(0, 0, rq), sends(0, 0, sd), sends(0, 0, rq), sends(1, 0, rq)}}},
		{"break, number again", false, config{nodes: 2, window: 1, breaks: 1, relinks: 1, late: true, slow: true, lazy: true,
			consumers: cs{closes(at(1, 0)), later(at(1, 1), 0), at(1, 0)}, messages: ms{sends(0, 0, rq), sends(0, 1, rq), sends(0, 0, sd)}}},
		{"flapping link", false, config{nodes: 2, window: 1, breaks: 1, relinks: 1, late: true,
			consumers: cs{at(1, 0)}, messages: ms{sends(0, 0, sd), sends(0, 0, sd), sends(0, 0, rq)}}},
		{"break in a leave", false, config{nodes: 3, window: 1, breaks: 1, leaver: nodes(1), late: true,
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, rq), sends(1, 0, rq)}}},
		{"break while two leave", false, config{nodes: 3, window: 1, breaks: 1, relinks: 1, leaver: nodes(0, 1), late: true,
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, rq)}}},
		{"crash in a leave", false, config{nodes: 3, window: 1, crashes: 1, leaver: nodes(1), late: true,
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, rq), sends(1, 0, rq), sends(2, 0, rq)}}},
		{"drain time ends", false, config{nodes: 3, window: 1, forced: 1, leaver: nodes(0, 1), late: true,
			consumers: cs{at(1, 0), at(2, 0)}, messages: ms{sends(0, 0, rq)}}},
		{"all at once", true, config{nodes: 4, window: 2, graceful: true, leaver: nodes(0, 1), slow: true, lazy: true, late: true,
			consumers: cs{at(1, 0), closes(at(2, 0)), at(3, 0), later(at(2, 1), 1), at(0, 1)}, messages: ms{sends(0, 0, rq), sends(0, 0, sd), sends(0, 0, pb), sends(1, 0, rq), sends(2, 1, sd)}}},
		{"all faults", true, config{nodes: 4, window: 2, leaver: nodes(0, 1), slow: true, lazy: true, late: true, cancel: true, breaks: 2, relinks: 3, crashes: 1,
			consumers: cs{at(1, 0), closes(at(2, 0)), at(3, 0), later(at(2, 1), 1), at(0, 1)}, messages: ms{sends(0, 0, rq), sends(0, 0, sd), sends(0, 0, pb), sends(1, 0, rq), sends(2, 1, rq)}}},
		{"churn", true, config{nodes: 3, window: 2, graceful: true, slow: true, lazy: true, late: true, leaver: nodes(0),
			consumers: cs{closes(at(1, 0)), closes(later(at(1, 1), 0)), later(at(1, 0), 1), at(2, 0), at(2, 1)}, messages: ms{sends(0, 0, sd), sends(0, 1, rq), sends(0, 0, pb), sends(2, 0, rq), sends(0, 1, sd)}}},
	}
}
