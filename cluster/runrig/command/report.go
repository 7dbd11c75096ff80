package command

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// A column of a report: its head, and what a row has there. Those that are numbers have
// a weight to sort by.
type column[T any] struct {
	head   string
	text   func(*T) any
	weight func(*T) float64
}

// report shows a table of one kind.
func report(ctx context.Context, c *call) error {
	kind := c.args[0]
	f := map[string]func(*inspect.Cluster) error{
		"addresses": func(s *inspect.Cluster) error { return writeReport(c, c.users(addressRows(s)), addressColumns, "sent") },
		"slow":      func(s *inspect.Cluster) error { return writeReport(c, c.users(slowRows(s)), addressColumns, "waiting") },
		"links":     func(s *inspect.Cluster) error { return writeReport(c, linkRows(s), linkColumns, "") },
		"nodes":     func(s *inspect.Cluster) error { return writeReport(c, nodeRows(s), nodeColumns, "") },
		"verticles": func(s *inspect.Cluster) error { return writeReport(c, verticleRows(s), verticleColumns, "") },
	}[kind]
	if f == nil {
		return fmt.Errorf("%w: report of %s; there are addresses, links, nodes, slow and verticles", errUsage, show(kind))
	}
	q := queryFor(kind, c)
	return c.repeat(ctx, func(ctx context.Context, client *inspect.Client) error {
		s, err := client.Cluster(ctx, q)
		if err != nil {
			return err
		}
		if c.json {
			return c.document(s)
		}
		c.style.clear(c.out)
		if err := f(&s); err != nil {
			return err
		}
		c.missing(&s)
		return nil
	})
}

// queryFor asks for what a report shows, and no more.
func queryFor(kind string, c *call) inspect.Query {
	q := inspect.Query{Addresses: -1, Links: -1, Verticles: -1, Match: c.match}
	switch kind {
	case "addresses":
		q.Addresses = max(1000, c.top)
	case "slow":
		q.Addresses, q.Sort = max(1000, c.top), inspect.SortPain
	case "links":
		q.Links = 0
	case "verticles":
		q.Verticles = max(200, c.top)
	}
	return q
}

// missing names the nodes that have not answered.
func (c *call) missing(s *inspect.Cluster) {
	for _, m := range s.Missing {
		fmt.Fprintln(c.out, c.style.paint(bad, show(fmt.Sprintf("missing: %s at %s: %s", m.ID, m.Address, m.Reason))))
	}
}

// writeReport shows rows, sorted by what -sort says, and no more than -top.
func writeReport[T any](c *call, rows []T, columns []column[T], by string) error {
	by = orElse(strings.ToLower(c.sort), by)
	var heads, sortable []string
	var weight func(*T) float64
	for _, col := range columns {
		heads = append(heads, col.head)
		if name := strings.ToLower(strings.TrimPrefix(col.head, ">")); col.weight != nil {
			sortable = append(sortable, name)
			if name == by {
				weight = col.weight
			}
		}
	}
	if by != "" && weight == nil {
		return fmt.Errorf("%w: -sort %s; it may be %s", errUsage, show(by), strings.Join(sortable, ", "))
	}
	if weight != nil {
		slices.SortStableFunc(rows, func(a, b T) int { return cmp.Compare(weight(&b), weight(&a)) })
	}
	t := c.newTable(heads...)
	for i := range rows[:min(len(rows), c.top)] {
		var cells []any
		for _, col := range columns {
			cells = append(cells, col.text(&rows[i]))
		}
		t.row(cells...)
	}
	t.write(c.out)
	c.leftOut("rows (-top)", len(rows)-min(len(rows), c.top))
	return nil
}

// number makes a column of counts.
func number[T any](head string, of func(*T) uint64) column[T] {
	return column[T]{">" + head, func(t *T) any { return zero(of(t)) }, func(t *T) float64 { return float64(of(t)) }}
}

// An addressRow is an address, as all nodes together know it.
type addressRow struct {
	inspect.Address
	nodes []string // that consume it, with how many consumers if not one
}

var addressColumns = []column[addressRow]{
	{"ADDRESS", func(r *addressRow) any { return r.Address.Address }, nil},
	number("CONSUMERS", func(r *addressRow) uint64 { return uint64(r.Consumers) }),
	number("SENT", func(r *addressRow) uint64 { return r.Sent }),
	number("HANDLED", func(r *addressRow) uint64 { return r.Handled }),
	number("WAITING", func(r *addressRow) uint64 { return uint64(r.Waiting) }),
	number("QUEUED", func(r *addressRow) uint64 { return uint64(r.Queued) }),
	number("RUNNING", func(r *addressRow) uint64 { return uint64(r.Running) }),
	number("FAILED", func(r *addressRow) uint64 { return r.Failed + r.Panics }),
	number("LOST", func(r *addressRow) uint64 { return lost(&r.Messages) }),
	{"ON", func(r *addressRow) any { return strings.Join(r.nodes, " ") }, nil},
}

// maxNode is how many characters of a node's name there may be in a list of them.
const maxNode = 16

// lost are messages that no handler got.
func lost(m *inspect.Messages) uint64 {
	return m.Unknown + m.DeadLetters + m.Skipped + m.Expired + m.Undecodable + m.Dropped + m.CutOff
}

// addressRows adds up what the nodes tell of each address.
func addressRows(s *inspect.Cluster) []addressRow {
	index, rows := map[string]int{}, []addressRow(nil)
	for i := range s.Nodes {
		for _, a := range s.Nodes[i].Addresses {
			k, known := index[a.Address]
			if !known {
				k = len(rows)
				index[a.Address] = k
				rows = append(rows, addressRow{Address: inspect.Address{Address: a.Address}})
			}
			rows[k].add(&a, s.Nodes[i].Self.Name)
		}
	}
	slices.SortFunc(rows, func(a, b addressRow) int { return strings.Compare(a.Address.Address, b.Address.Address) })
	return rows
}

// ownPrefix begins the addresses of the library's own, which are shown to who asks for
// them by -match.
const ownPrefix = "_runrig."

// users returns the rows that are of the program.
func (c *call) users(rows []addressRow) []addressRow {
	if strings.HasPrefix(c.match, ownPrefix) {
		return rows
	}
	return slices.DeleteFunc(rows, func(r addressRow) bool { return strings.HasPrefix(r.Address.Address, ownPrefix) })
}

func (r *addressRow) add(a *inspect.Address, node string) {
	node = fit(node, maxNode)
	r.Consumers += a.Local
	r.Waiting += a.Waiting
	r.Queued += a.Queued
	r.Running += a.Running
	r.Messages.Add(a.Messages)
	switch {
	case a.Local == 1:
		r.nodes = append(r.nodes, node)
	case a.Local > 1:
		r.nodes = append(r.nodes, node+"×"+strconv.Itoa(a.Local))
	}
}

// slowRows are the addresses where something waits or was lost.
func slowRows(s *inspect.Cluster) []addressRow {
	return slices.DeleteFunc(addressRows(s), func(r addressRow) bool {
		return r.Waiting+r.Queued == 0 && lost(&r.Messages)+r.Failed+r.Panics == 0
	})
}

// A linkRow is a link as one of its ends sees it.
type linkRow struct {
	from string
	up   string
	*inspect.Link
}

func optional(head string, of func(*inspect.Link) *uint64, f func(uint64) string) column[linkRow] {
	return column[linkRow]{">" + head, func(r *linkRow) any { return some(of(r.Link), f) }, func(r *linkRow) float64 {
		if n := of(r.Link); n != nil {
			return float64(*n)
		}
		return -1
	}}
}

func plainNumber(n uint64) string { return strconv.FormatUint(n, 10) }

var linkColumns = []column[linkRow]{
	{"FROM", func(r *linkRow) any { return r.from }, nil},
	{"TO", func(r *linkRow) any { return r.Name }, nil},
	{"ADDRESS", func(r *linkRow) any { return r.Address }, nil},
	{">UP", func(r *linkRow) any { return r.up }, nil},
	{">RTT", func(r *linkRow) any { return some(r.RoundTrip, seconds) }, nil},
	optional("OUT", func(l *inspect.Link) *uint64 { return l.BytesOut }, bytesText),
	optional("IN", func(l *inspect.Link) *uint64 { return l.BytesIn }, bytesText),
	optional("QUEUED", func(l *inspect.Link) *uint64 { return l.Queued }, bytesText),
	optional("UNSETTLED", func(l *inspect.Link) *uint64 { return l.Unsettled }, plainNumber),
	optional("REQUESTS", func(l *inspect.Link) *uint64 { return l.Requests }, plainNumber),
	optional("STALLS", func(l *inspect.Link) *uint64 { return l.Stalls }, plainNumber),
}

func linkRows(s *inspect.Cluster) (rows []linkRow) {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		for k := range n.Links {
			rows = append(rows, linkRow{n.Self.Name, since(n.Time, n.Links[k].Since), &n.Links[k]})
		}
	}
	return rows
}

// A nodeRow is a node, with what it tells of its process.
type nodeRow struct {
	*inspect.Node
	skew time.Duration
}

var nodeColumns = []column[nodeRow]{
	{"NAME", func(r *nodeRow) any { return r.Self.Name }, nil},
	{"ADDRESS", func(r *nodeRow) any { return r.Self.Address }, nil},
	{"STATE", func(r *nodeRow) any { return cell{r.Self.State, moodOf(r.Self.State)} }, nil},
	{">UP", func(r *nodeRow) any { return since(r.Time, r.Self.Started) }, nil},
	number("LINKS", func(r *nodeRow) uint64 { return uint64(len(r.Links) + r.LeftOut.Links) }),
	number("GOROUTINES", func(r *nodeRow) uint64 { return r.Process.Goroutines }),
	{">HEAP", func(r *nodeRow) any { return bytesText(r.Process.Heap) }, func(r *nodeRow) float64 { return float64(r.Process.Heap) }},
	{">MEMORY", func(r *nodeRow) any { return bytesText(r.Process.Memory) }, func(r *nodeRow) float64 { return float64(r.Process.Memory) }},
	number("SENT", func(r *nodeRow) uint64 { return r.Messages.Sent }),
	number("HANDLED", func(r *nodeRow) uint64 { return r.Messages.Handled }),
	number("FAILED", func(r *nodeRow) uint64 { return r.Messages.Failed + r.Messages.Panics }),
	number("LOST", func(r *nodeRow) uint64 { return lost(&r.Messages) }),
	{"VERSION", func(r *nodeRow) any { return r.Process.Release() }, nil},
	{"SECURED", func(r *nodeRow) any {
		if r.Self.Secured {
			return cell{"yes", good}
		}
		return cell{"no", warn}
	}, nil},
	{"TROUBLE", func(r *nodeRow) any { return cell{strings.Join(r.Self.Trouble, "; "), bad} }, nil},
}

func nodeRows(s *inspect.Cluster) (rows []nodeRow) {
	for i := range s.Nodes {
		rows = append(rows, nodeRow{Node: &s.Nodes[i], skew: s.Nodes[i].Time.Sub(s.Time)})
	}
	return rows
}

// A verticleRow is a deployment on a node.
type verticleRow struct {
	node  *inspect.Node
	depth int
	inspect.Verticle
}

// busy is the share of its time in which the turn was held.
func (r *verticleRow) busy() float64 {
	if age := r.node.Time.Sub(r.Deployed).Seconds(); age > 0 {
		return r.Busy / age
	}
	return 0
}

var verticleColumns = []column[verticleRow]{
	{"NODE", func(r *verticleRow) any { return r.node.Self.Name }, nil},
	{"VERTICLE", func(r *verticleRow) any { return strings.Repeat("  ", r.depth) + r.Name }, nil},
	{"STATE", func(r *verticleRow) any { return cell{r.State, moodOf(r.State)} }, nil},
	{">SINCE", func(r *verticleRow) any { return since(r.node.Time, r.Since) }, nil},
	{">BUSY", func(r *verticleRow) any { return strconv.FormatFloat(100*r.busy(), 'f', 1, 64) + "%" }, (*verticleRow).busy},
	number("RESTARTS", func(r *verticleRow) uint64 { return uint64(r.Restarts) }),
	number("CONSUMERS", func(r *verticleRow) uint64 { return uint64(len(r.Consumers)) }),
	{"LAST FAILURE", func(r *verticleRow) any {
		if r.Failure == "" {
			return ""
		}
		return cell{since(r.node.Time, r.Failed) + " ago: " + r.Failure, bad}
	}, nil},
}

// verticleRows are the deployments of all nodes, children below their parents.
func verticleRows(s *inspect.Cluster) (rows []verticleRow) {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		known, children := map[string]bool{}, map[string][]inspect.Verticle{}
		for _, v := range n.Verticles {
			known[v.ID] = true
		}
		for _, v := range n.Verticles {
			parent := v.Parent
			if !known[parent] {
				parent = ""
			}
			children[parent] = append(children[parent], v)
		}
		var add func(parent string, depth int)
		add = func(parent string, depth int) {
			for _, v := range children[parent] {
				rows = append(rows, verticleRow{n, depth, v})
				add(v.ID, depth+1)
			}
		}
		add("", 0)
	}
	return rows
}
