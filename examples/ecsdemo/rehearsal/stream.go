package rehearsal

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// flow is an account of a stream's messages of one kind: of one task, or of all
// together. A sum over the messages tells whether as many are the same.
type flow struct {
	sent, sentSum, failed, handled, handledSum uint64 // sent is without what failed
}

func flowOf(f map[string]string) flow {
	return flow{number(f["sent"]), number(f["sent.sum"]), number(f["failed"]), number(f["handled"]), number(f["handled.sum"])}
}

func (f flow) plus(g flow) flow {
	return flow{f.sent + g.sent, f.sentSum + g.sentSum, f.failed + g.failed, f.handled + g.handled, f.handledSum + g.handledSum}
}

// lost counts what was sent and not handled.
func (f flow) lost() uint64 { return f.sent - min(f.sent, f.handled) }

// problems says what is wrong with the account of a kind.
func (f flow) problems(kind string) (all []string) {
	if f.failed > 0 {
		all = append(all, fmt.Sprintf("%s: %d failed", kind, f.failed))
	}
	if n := f.lost(); n > 0 {
		all = append(all, fmt.Sprintf("%s: %d lost", kind, n))
	}
	if f.lost() == 0 && f.failed == 0 && f.sentSum != f.handledSum { // what failed may have been handled
		all = append(all, fmt.Sprintf("%s: what was handled is not what was sent: some of it twice", kind))
	}
	return all
}

// kinds are those of the stream. The caller holds the lock.
func (t *tally) kinds() []string {
	seen := map[string]bool{}
	for s := range t.flows {
		seen[s.verticle] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// total adds up a kind's accounts of all tasks. The caller holds the lock.
func (t *tally) total(kind string) (sum flow) {
	for s, f := range t.flows {
		if s.verticle == kind {
			sum = sum.plus(f)
		}
	}
	return sum
}

// streamLosses says in words what the accounts of the stream show, of which a
// task that has stopped must have told one of each kind.
func (t *tally) streamLosses() (all []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kinds := t.kinds()
	if len(kinds) == 0 {
		return []string{"no task told of a stream"}
	}
	for _, kind := range kinds {
		all = append(all, t.total(kind).problems(kind)...)
		for _, name := range t.names {
			if t.stopped[name] != nil && t.flows[sender{kind, name}].sent == 0 {
				all = append(all, fmt.Sprintf("%s: %s sent nothing", kind, name))
			}
		}
	}
	return all
}

// printDeployment writes what became of all messages while tasks were replaced.
func (t *tally) printDeployment(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprint(w, "\nWhat became of all messages while the tasks were replaced\n")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "kind\tsent\thandled\tfailed\tlost\t\n")
	row := func(kind string, sent, handled, failed, lost uint64) {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t\n", kind, sent, handled, failed, lost)
	}
	for _, kind := range t.kinds() {
		f := t.total(kind)
		row(kind[strings.LastIndexByte(kind, '.')+1:], f.sent+f.failed, f.handled, f.failed, f.lost())
	}
	for _, v := range []struct{ kind, verticle string }{{"greeting, sent", pointVerticle}, {"greeting, published", broadcastVerticle}} {
		var sent, handled, failed, lost uint64
		for _, name := range t.names {
			sent += t.sent[name]
			failed += t.failed[sender{v.verticle, name}]
			lost += t.lost(v.verticle, name)
		}
		for p, n := range t.received {
			if p.verticle == v.verticle {
				handled += n
			}
		}
		row(v.kind, sent, handled, failed, lost)
	}
	_ = tw.Flush() // w is the program's own output
	var bounced uint64
	for _, counters := range t.stopped {
		bounced += number(counters["bus.bounced"])
	}
	fmt.Fprintf(w, "A published greeting is handled once by each task that is there. Sent back by a task\nthat was leaving, and handled by another: %d.\n\n", bounced)
}
