package bus

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Loss is why messages were lost of which nobody is told otherwise: sends and
// publishes, whose senders have gone on.
type Loss uint8

// The losses.
const (
	LossExpired Loss = iota // their deadline was over before a handler of this node began
	LossCutOff              // they waited at this node when the link broke that they came on
	LossUnknown             // they were under way on a link that broke, and may have been handled
	LossSkipped             // copies of a publish: their consumer had no room in time
	LossDropped             // copies of a publish: their consumer closed or, by gossip, had no room

	lossKinds = iota
)

var lossTexts = [lossKinds]string{
	"expired before a handler began", "cut off with their link", "under way on a link that broke",
	"skipped for want of room", "dropped at their consumer",
}

// String returns the loss in a few words.
func (l Loss) String() string {
	if int(l) < len(lossTexts) {
		return lossTexts[l]
	}
	return fmt.Sprintf("Loss(%d)", uint8(l))
}

const (
	lossPause     = time.Second      // between two tellings of a kind
	lossAddresses = 64               // that are told apart in one
	lagPause      = 10 * time.Second // without a message that expires, until a consumer lags anew
)

// losses tells of what is lost, at most once a second for each kind of it. It does so
// on a timer, as what is lost is often seen where nothing may be called. Its lock is
// one of the last.
type losses struct {
	log    *slog.Logger
	events *events

	mu   sync.Mutex
	lags map[string]bool // addresses of which it has been told that messages expire there
	kind [lossKinds]struct {
		at    time.Time      // when it was last told
		by    map[string]int // what is to be told: messages by address
		timer *time.Timer    // nil: there is nothing
	}
}

// add notes that messages are lost.
func (l *losses) add(what Loss, address string, n int) {
	if n == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := &l.kind[what]
	if k.by == nil {
		k.by = map[string]int{}
	}
	if _, ok := k.by[address]; !ok && len(k.by) >= lossAddresses {
		address = ""
	}
	k.by[address] += n
	if k.timer == nil {
		k.timer = time.AfterFunc(lossPause-time.Since(k.at), func() { l.tell(what) })
	}
}

// tell tells what is noted of a kind.
func (l *losses) tell(what Loss) {
	l.mu.Lock()
	k := &l.kind[what]
	by := k.by
	var lag []string
	if what == LossExpired {
		lag = l.lagLocked(by, k.at)
	}
	if k.timer != nil {
		k.timer.Stop()
	}
	k.by, k.timer, k.at = nil, nil, time.Now()
	l.mu.Unlock()
	if len(by) == 0 {
		return
	}
	for _, address := range lag {
		l.events.note(ConsumerLags{Address: address})
	}
	sum, most := 0, ""
	for _, address := range slices.Sorted(maps.Keys(by)) {
		l.events.note(MessagesLost{Address: address, Loss: what, Count: by[address]})
		if sum += by[address]; by[address] > by[most] {
			most = address
		}
	}
	if what == LossDropped { // where consumers come and go that is as it should be
		l.log.Debug("messages "+what.String(), "address", most, "count", sum)
		return
	}
	l.log.Warn("messages "+what.String(), "address", most, "count", sum)
}

// lagLocked returns the addresses where messages expire of which that has not been
// told yet. The last time when messages of that kind were told was before.
func (l *losses) lagLocked(by map[string]int, before time.Time) (lag []string) {
	if l.lags == nil || time.Since(before) > lagPause {
		l.lags = map[string]bool{}
	}
	for _, address := range slices.Sorted(maps.Keys(by)) {
		if address != "" && !l.lags[address] {
			l.lags[address] = true
			lag = append(lag, address)
		}
	}
	return lag
}

// tellAll tells what is left to be told.
func (l *losses) tellAll() {
	for what := range Loss(lossKinds) {
		l.tell(what)
	}
}

// counter returns the counter of a loss that lose counts.
func (l Loss) counter() counter {
	switch l {
	case LossCutOff:
		return countCutOff
	case LossSkipped:
		return countSkipped
	}
	return countDropped
}

// lose counts copies that were skipped or dropped, and messages that were cut off, and
// has it told.
func (h *home) lose(what Loss, n int) {
	if n == 0 {
		return
	}
	h.stats.add(what.counter(), uint64(n))
	h.book(what.counter(), n)
	h.losses.add(what, h.address, n)
}

// lose books what was under way on a route of a link that has ended, some of it requests. The
// link counts it.
func (rt *route) lose(requests int) {
	n := rt.unsettled
	rt.bookLate(0, -n)
	rt.unsettled = 0
	h := rt.home
	h.book(countUnknown, int(n))
	h.losses.add(LossUnknown, h.address, max(0, int(n)-requests))
}
