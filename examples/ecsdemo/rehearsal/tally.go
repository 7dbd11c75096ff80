package rehearsal

import (
	"fmt"
	"sync"
	"time"
)

// The two verticles that receive, as the tasks' lines name them.
const (
	pointVerticle     = "PointVerticle"
	broadcastVerticle = "BroadcastVerticle"
)

// metAfter is how long two tasks must have been up for it to be a failure that
// one never received the other's IP.
const metAfter = 10 * time.Second

// tally counts what the tasks' own lines say: each message has its sender's IP
// and a number, so that what is missing, and what came twice, is known and not
// reckoned. Tasks are called by their IPs.
type tally struct {
	mu        sync.Mutex
	names     []string                     // of the tasks, in the order in which they were started
	up        map[string]time.Time         // when a task was healthy first
	sent      map[string]uint64            // the last number that the task gave to a message
	failed    map[sender]uint64            // sends and publishes that returned an error
	received  map[pair]uint64              // messages
	sends     map[string]*numbers          // by sender: what some PointVerticle has received
	publishes map[pair]*numbers            // what that BroadcastVerticle has received
	twice     uint64                       // messages received more than once
	flows     map[sender]flow              // the stream, by its kind instead of a verticle
	counters  uint64                       // starts of CounterVerticle, of which there is to be one at a time
	stopped   map[string]map[string]string // a task's last line, with its bus's counters
	end       time.Time                    // when the tasks were told to stop, if they were
	last      map[string]bool              // the tasks that were up then
}

type sender struct{ verticle, name string }

// pair is who received whose messages.
type pair struct{ verticle, to, from string }

func newTally() *tally {
	return &tally{
		up:        map[string]time.Time{},
		sent:      map[string]uint64{},
		failed:    map[sender]uint64{},
		received:  map[pair]uint64{},
		sends:     map[string]*numbers{},
		publishes: map[pair]*numbers{},
		flows:     map[sender]flow{},
		stopped:   map[string]map[string]string{},
		last:      map[string]bool{},
	}
}

// line takes a line of a task's log. It reports whether the line was one that
// only repeats what the tables show.
func (t *tally) line(text string) (counted bool) {
	f := fields(text)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch f["msg"] {
	case "stream":
		t.flows[sender{f["kind"], f["local"]}] = flowOf(f)
	case "received":
		t.receive(pair{f["verticle"], f["local"], f["received"]}, number(f["n"]))
	case "not sent":
		if f["verticle"] != "" { // of the stream it is in the account
			t.failed[sender{f["verticle"], f["local"]}]++
		}
	case "counting":
		t.counters++
	case "stopped":
		t.stopped[f["local"]] = f
		t.sent[f["local"]] = max(t.sent[f["local"]], number(f["sent"]))
	}
	return f["msg"] == "received" || f["msg"] == "stream"
}

func (t *tally) receive(p pair, n uint64) {
	t.received[p]++
	t.sent[p.from] = max(t.sent[p.from], n)
	set := t.publishes[p]
	if p.verticle == pointVerticle {
		set = t.sends[p.from]
	}
	if set == nil {
		set = new(numbers)
		if p.verticle == pointVerticle {
			t.sends[p.from] = set
		} else {
			t.publishes[p] = set
		}
	}
	if !set.add(n) {
		t.twice++
	}
}

// healthy notes a health check that the task passed, and how many messages it
// said to have sent.
func (t *tally) healthy(name string, sent uint64, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.up[name].IsZero() {
		t.up[name] = now
	}
	t.sent[name] = max(t.sent[name], sent)
}

// add adds a task that is about to start.
func (t *tally) add(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names = append(t.names, name)
}

// ending says that the health checks have ended, and which tasks are up. What
// those have sent must arrive.
func (t *tally) ending(names []string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = now
	for _, name := range names {
		t.last[name] = true
	}
}

// settled reports whether all is received that will be.
func (t *tally) settled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range t.names {
		if t.lost(pointVerticle, name)+t.lost(broadcastVerticle, name) > 0 {
			return false
		}
	}
	for _, kind := range t.kinds() {
		if t.total(kind).lost() > 0 {
			return false
		}
	}
	return true
}

// lost counts the messages of a task that were sent and not received: for
// PointVerticle those that no task received, for BroadcastVerticle the copies
// missing, at each other task, between the first that it received and the last
// that it had to, which for a task that has ended is the last one it received.
// The caller holds the lock.
func (t *tally) lost(verticle, name string) uint64 {
	var lost uint64
	if verticle == pointVerticle {
		set := t.sends[name]
		if set == nil {
			set = new(numbers)
		}
		lost = set.missing(1, t.sent[name])
		return lost - min(lost, t.failed[sender{verticle, name}])
	}
	for p, set := range t.publishes {
		if p.from != name {
			continue
		}
		to := set.last()
		if t.last[p.to] {
			to = t.sent[name]
		}
		lost += set.missing(set.first(), to)
	}
	return lost
}

// losses says in words what was lost, or could not be sent. Where publishes may
// be lost, those are left out.
func (t *tally) losses(lossy bool) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, name := range t.names {
		for _, verticle := range []string{pointVerticle, broadcastVerticle} {
			if n := t.failed[sender{verticle, name}]; n > 0 {
				all = append(all, fmt.Sprintf("not sent: %d of %s to %s", n, name, verticle))
			}
			if n := t.lost(verticle, name); n > 0 && !(lossy && verticle == broadcastVerticle) {
				all = append(all, fmt.Sprintf("lost: %d of %s to %s", n, name, verticle))
			}
		}
	}
	return all
}

// faults says in words what must not be seen even where tasks were killed.
func (t *tally) faults() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	if t.twice > 0 {
		all = append(all, fmt.Sprintf("received twice: %d", t.twice))
	}
	for _, to := range t.names {
		if t.last[to] && t.stopped[to] == nil {
			all = append(all, to+" ended without its last line")
		}
		for _, from := range t.names {
			if t.old(to) && t.old(from) && t.received[pair{broadcastVerticle, to, from}] == 0 {
				all = append(all, fmt.Sprintf("%s never received a publish of %s", to, from))
			}
		}
	}
	return all
}

// old reports whether the task was up to the end, and long enough to have met
// all others.
func (t *tally) old(name string) bool { return t.last[name] && t.end.Sub(t.up[name]) >= metAfter }
