package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// A step is a part of the time that a request took.
type step struct {
	What    string  `json:"what"`
	Begins  float64 `json:"begins_seconds"` // after the command asked
	Seconds float64 `json:"seconds"`
}

// traced is what trace finds, as JSON.
type traced struct {
	Address   string         `json:"address"`
	Consumers []string       `json:"consumers"` // names of nodes
	Steps     []step         `json:"steps"`
	Answer    inspect.Answer `json:"answer"`
}

// trace sends a request, and shows who could have answered it, who did, and where its
// time went.
func trace(ctx context.Context, c *call) error {
	message, err := c.message("request")
	if err != nil {
		return err
	}
	client, err := c.attach(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := client.Cluster(ctx, inspect.Query{Addresses: 10_000, Match: message.Address, Links: -1, Verticles: -1})
	if err != nil {
		return err
	}
	t := traced{Address: message.Address, Consumers: consumersOf(&s, message.Address)}
	began := time.Now()
	if _, err := client.Node(ctx, inspect.Query{Addresses: -1, Members: -1, Links: -1, Verticles: -1}); err != nil {
		return err
	}
	way := time.Since(began).Seconds()
	began = time.Now()
	if t.Answer, err = c.call(ctx, client, message); err != nil {
		return err
	}
	all := time.Since(began).Seconds()
	inBus := min(t.Answer.Took, all)
	way = min(way, all-inBus)
	t.Steps = []step{
		{"to " + t.Answer.Node, 0, way / 2},
		{"in the bus, and the handler" + byWhom(t.Answer.Reply), way / 2, inBus},
		{"back, and the command's own", way/2 + inBus, all - inBus - way/2},
	}
	if c.json {
		return c.document(t)
	}
	return c.tellTrace(&t, all)
}

func byWhom(reply *inspect.Said) string {
	if reply == nil {
		return ""
	}
	return fmt.Sprintf(", at %s via %s", orElse(reply.From, "the same node"), reply.Via)
}

// consumersOf names the nodes that consume an address.
func consumersOf(s *inspect.Cluster, address string) []string {
	names := []string{}
	for _, r := range addressRows(s) {
		if r.Address.Address == address {
			names = append(names, r.nodes...)
		}
	}
	slices.Sort(names)
	return names
}

// barWidth is how many characters stand for the whole time.
const barWidth = 40

func (c *call) tellTrace(t *traced, all float64) error {
	fmt.Fprintf(c.out, "%s has consumers on: %s\n", show(t.Address), show(orElse(strings.Join(t.Consumers, ", "), "no node")))
	for _, s := range t.Steps {
		begin := int(s.Begins / max(all, 1e-9) * barWidth)
		length := max(1, int(s.Seconds/max(all, 1e-9)*barWidth))
		begin = min(begin, barWidth-1)
		length = min(length, barWidth-begin)
		bar := strings.Repeat(" ", begin) + strings.Repeat("█", length) + strings.Repeat(" ", barWidth-begin-length)
		fmt.Fprintf(c.out, "%s %8s  %s\n", bar, seconds(s.Seconds), show(s.What))
	}
	if t.Answer.Error != "" {
		return errors.New(t.Answer.Error)
	}
	fmt.Fprintln(c.out, said(t.Answer.Reply))
	return nil
}
