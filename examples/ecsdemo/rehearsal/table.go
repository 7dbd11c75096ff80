package rehearsal

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes the tables: who received whose messages, and what became of
// all that was sent. label names a task.
func (t *tally) print(w io.Writer, label func(name string) string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.names) == 0 {
		return // no task ever was up
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, v := range []struct{ verticle, title string }{
		{pointVerticle, "PointVerticle (Send: one task receives each message)"},
		{broadcastVerticle, "BroadcastVerticle (Publish: every task receives each message)"},
	} {
		fmt.Fprintf(tw, "\n%s\n", v.title)
		t.row(tw, "sender", func(name string) any { return name })
		for _, to := range t.names {
			t.row(tw, "received by "+label(to), func(from string) any { return t.received[pair{v.verticle, to, from}] })
		}
		t.row(tw, "sent", func(name string) any { return t.sent[name] })
		t.row(tw, "lost", func(name string) any { return t.lost(v.verticle, name) })
		t.row(tw, "failed", func(name string) any { return t.failed[sender{v.verticle, name}] })
	}
	_ = tw.Flush() // w is the program's own output
	t.printBuses(w, label)
}

func (t *tally) row(w io.Writer, head string, cell func(name string) any) {
	var b strings.Builder
	b.WriteString(head)
	for _, name := range t.names {
		fmt.Fprintf(&b, "\t%v", cell(name))
	}
	fmt.Fprintf(w, "%s\t\n", b.String())
}

// printBuses writes what the tasks' buses counted themselves.
func (t *tally) printBuses(w io.Writer, label func(name string) string) {
	fmt.Fprintf(w, "\nThe buses' own counters (a message to each consumer counts; sent = settled + bounced + unknown)\n")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "\t%s\t\n", strings.Join(busCounters, "\t"))
	for _, name := range t.names {
		cells := make([]string, len(busCounters))
		for i, c := range busCounters {
			if cells[i] = t.stopped[name]["bus."+c]; cells[i] == "" {
				cells[i] = "?" // the task was killed and could not say
			}
		}
		fmt.Fprintf(tw, "%s\t%s\t\n", label(name), strings.Join(cells, "\t"))
	}
	_ = tw.Flush()
	fmt.Fprintln(w)
}

// busCounters are those of a task's last line.
var busCounters = []string{"sent", "settled", "bounced", "unknown", "deadletters"}
