package model

// A breach is a rule, or a part of one, that a model can be run without.
type breach uint8

const (
	oneSection breach = iota
	settledOnce
	droppedSettled
	handledStays
	droppedWithLink
	creditOnItsLink
	replyOnItsLink
	numberAtOnce
	numberWhenSettled
	recordKept
	reuseFirst
	removalFirst
	doneWhenAcked
	ackFirst
	doneFirst
	leavingOKFirst
	goodbyeFirst
	firstComeFirstServed
	backInOrder
	backByHops
	keysHeld
	knownWhenAcked
	balancePositive
	creditAtOnce
	fanOutToAll
	fanOutToTombstones
	publishedOnly
	unansweredAtOnce
	noAdditionsLeaving
	leaverTakesLinks
	routesToLeaver
	goodbyeWhenOK
	goodbyeWhenSettled
	goodbyeWhenAnswered
	creditBeforeGoodbye
	handoverToStayer
	handoverWhereCalled
	readToTheEnd
	oldLinkReadOut
	downBeforeUp

	// Of large bodies.
	takenBackInTime
	twoBodies
	othersWait
	resetBeforeAck
	bodyNamed
	bouncesWait
	doneWaitsForBodies
	memorySuffices

	// Of windows, and of boots.
	shrinksByCredit
	restCounts
	proofsNumbered
)

// breaches are the rules that are taken out.
type breaches uint64

func without(bs ...breach) (out breaches) {
	for _, b := range bs {
		out |= 1 << b
	}
	return out
}

func (out breaches) has(b breach) bool { return out>>b&1 != 0 }

// A rule of PROTOCOL.md, or a part of it, that a model keeps.
type rule struct {
	breach
	number string // "4", "H5", "L2" (a node leaves, step 2), or "first" (what goes first)
	out    string // what is done when it is taken out
	in     string // the smallest configuration that shows what comes of it:
	found  string
}

var rules = []rule{
	{oneSection, "1", "a route is chosen, and written to later without looking again", "mesh/question",
		"a MSG comes after LEAVING_OK"},
	{settledOnce, "2", "what is sent back is settled by BOUNCE and by CREDIT", "mesh/handover small",
		"1 messages are unsettled at the sender, and 2 under way"},
	{droppedSettled, "2", "copies of a publish at a closing consumer, and cancelled requests, are not settled", "mesh/question given up",
		"1 messages are unsettled at the sender, and 0 under way"},
	{handledStays, "2", "what a handler has begun with is sent back too", "mesh/handover small",
		"1 messages are unsettled at the sender, and 2 under way"},
	{droppedWithLink, "2", "what came on a link that has ended waits on", "mesh/question in a break",
		"a consumer has 2 messages of a node whose window is 1"},
	{creditOnItsLink, "2", "credit is written on the next link", "mesh/question in a break",
		"0 messages are unsettled at the sender, and 1 under way"},
	{numberAtOnce, "3", "a number is used again at once", "mesh/key of a number again",
		"misdelivery: a message for c0 comes to c1, which has its number"},
	{numberWhenSettled, "3", "a number is used again while a handler of its last consumer runs", "mesh/handover small",
		"credit of a consumer is given to the next one of its number"},
	{recordKept, "3", "the sender forgets a route at its removal", "mesh/handover small",
		"a BOUNCE comes after the own GOODBYE"},
	{reuseFirst, "3", "an addition that uses a number again goes before what its last consumer sends back", "mesh/key of a number again",
		"a number is used again before all is back from its last consumer"},
	{removalFirst, "4", "a message is sent back before the removal is written", "mesh/question",
		"a BOUNCE comes of a route that is live at its sender"},
	{replyOnItsLink, "5", "a reply goes on the next link, whose ids begin anew (15, too)", "mesh/break, number again",
		"the reply to a request of an earlier link answers another one"},
	{resetBeforeAck, "7", "a body goes on to a route whose removal is acknowledged", "bulk/closing",
		"a message is whole after the ROUTES_ACK of its route's removal"},
	{othersWait, "7", "other messages go to a route on which a body is on its way", "bulk/closing",
		"a message comes after a later one"},
	{memorySuffices, "7", "memory is given out as it is asked for", "bulk/two bodies",
		"a body has no memory for ever"},
	{firstComeFirstServed, "8", "the last that waits is placed first", "mesh/late news",
		"a message is handled after a later one"},
	{backInOrder, "8", "what comes back waits ahead of what came back before", "mesh/closing small",
		"of those that one consumer sent back, a message is handled after a later one"},
	{backByHops, "8", "of a key, what comes back waits behind all that came back", "mesh/key of two, two messages",
		"of one key, a message is begun after a later one"},
	{keysHeld, "8", "a key is given to its next owner at the removal, before ROUTES_DONE", "mesh/key of a number again",
		"of one key, a message is begun after a later one"},
	{knownWhenAcked, "9", "a consumer is known when its addition is written", "mesh/peer comes after LEAVING_OK",
		"a consumer is known that its peer cannot route to"},
	{balancePositive, "10", "a message is written when the balance is 0", "window/window",
		"a MSG comes for a window of 1 that is used up"},
	{shrinksByCredit, "11", "a window shrinks by more than what is given back", "window/window",
		"credit is revoked: the balance was 3 and is 1"},
	{restCounts, "11", "a REST counts although the window has changed meanwhile", "window/window",
		"a REST comes that is none"},
	{creditAtOnce, "12", "credit of a single message is never written", "mesh/number again of one address",
		"a message stays unsettled"},
	{fanOutToAll, "14", "a publish goes to all consumers of its address", "mesh/publish",
		"0 messages are unsettled at the sender, and 1 under way"},
	{fanOutToTombstones, "14", "a publish is settled for tombstones whose addition was not acknowledged", "mesh/publish to the short-lived",
		"0 messages are unsettled at the sender, and 1 under way"},
	{publishedOnly, "14", "a send goes to a route that gets publishes only", "mesh/publish to what hears it only",
		"a consumer that hears publishes only handles another message"},
	{unansweredAtOnce, "16", "a question for which nobody waits is dropped", "mesh/question given up",
		"a request does not end"},
	{twoBodies, "21", "a third body is announced", "bulk/three bodies",
		"a third body is announced"},
	{bodyNamed, "22", "BULK_GO does not name its body", "bulk/closing",
		"a chunk comes for which there is no memory"},
	{takenBackInTime, "23", "a body is taken back when its last chunk is written", "bulk/deadlines",
		"a message is handled that was taken back"},
	{doneWaitsForBodies, "24", "ROUTES_DONE does not wait for a large bounce", "bulk/closing",
		"a BOUNCE is complete after its ROUTES_DONE"},
	{doneWhenAcked, "24", "ROUTES_DONE is written with the removal", "mesh/closing small",
		"a BOUNCE comes after its ROUTES_DONE"},
	{bouncesWait, "24", "a bounce does not wait for a large one before it", "bulk/small behind large",
		"what was sent later comes back first"},
	{ackFirst, "first", "ROUTES_ACK goes first", "mesh/handover small",
		"a MSG for a number that is neither live nor a tombstone"},
	{doneFirst, "first", "ROUTES_DONE goes first", "mesh/question",
		"a BOUNCE comes after its ROUTES_DONE"},
	{leavingOKFirst, "first", "LEAVING_OK goes first", "mesh/question",
		"a MSG comes after LEAVING_OK"},
	{goodbyeFirst, "first", "GOODBYE goes first", "mesh/question",
		"GOODBYE comes while 1 messages to its node are unsettled"},
	{noAdditionsLeaving, "L1", "an addition is written after LEAVING", "mesh/publish to the short-lived",
		"1 messages are unsettled at the sender, and 0 under way"},
	{leaverTakesLinks, "L1", "a node that leaves refuses links", "mesh/newcomer",
		"the leave of n0 does not end"},
	{routesToLeaver, "L2", "no ROUTES are written to a node that leaves", "mesh/handover small",
		"the leave of n0 does not end"},
	{goodbyeWhenOK, "L3", "GOODBYE does not wait for LEAVING_OK", "mesh/question",
		"a MSG comes after the own GOODBYE"},
	{goodbyeWhenSettled, "L3", "GOODBYE does not wait for the own messages", "mesh/question to a leaver",
		"a message is lost though nothing broke"},
	{goodbyeWhenAnswered, "L3", "GOODBYE does not wait for questions to be answered", "mesh/question of one that has returned",
		"a question is not answered though nothing broke"},
	{creditBeforeGoodbye, "L3", "GOODBYE does not wait for the credit that is owed", "mesh/leave small",
		"GOODBYE comes while 1 messages to its node are unsettled"},
	{handoverToStayer, "L3", "a message is handed over to a node that leaves too", "mesh/handover between leavers",
		"a HANDOVER comes after the own GOODBYE"},
	{handoverWhereCalled, "L3", "a message is handed over to a node that is not linked with those who may consume it", "mesh/apart, handover",
		"a message is lost though nothing broke"},
	{readToTheEnd, "L4", "a link is closed with input unread", "mesh/handover small",
		"a message is lost though nothing broke"},
	{oldLinkReadOut, "H5", "the successor's HELLO ends the old link at once", "mesh/successor",
		"the successor's HELLO cuts off what the old link holds of 1 messages"},
	{proofsNumbered, "H5", "a WELCOME is proof, whatever came since its dial began", "proof/three boots",
		"a link with the boot that lives is taken down for a dead one"},
	{downBeforeUp, "H6", "a link comes up while the old one is up", "mesh/break",
		"a route is added whose number is in use"},
}
