package command

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// A rate is what an address did in a second.
type rate struct {
	addressRow
	sent, handled, wrong float64
}

// top shows the addresses with the most traffic, by what has changed since the last
// look.
func top(ctx context.Context, c *call) error {
	var before map[string]addressRow
	var at time.Time
	c.count++ // the first look has nothing to compare with
	if c.count == 1 {
		c.count = 0
	}
	return c.repeat(ctx, func(ctx context.Context, client *inspect.Client) error {
		s, err := client.Cluster(ctx, inspect.Query{Addresses: 1000, Links: -1, Verticles: -1, Match: c.match})
		if err != nil {
			return err
		}
		now := map[string]addressRow{}
		for _, r := range c.users(addressRows(&s)) {
			now[r.Address.Address] = r
		}
		if before != nil {
			if err := c.topScreen(&s, rates(before, now, s.Time.Sub(at))); err != nil {
				return err
			}
		}
		before, at = now, s.Time
		return nil
	})
}

// rates are what has changed, the busiest first.
func rates(before, now map[string]addressRow, over time.Duration) (all []rate) {
	per := func(was, is uint64) float64 { return float64(is-min(was, is)) / max(over.Seconds(), 0.001) }
	for address, r := range now {
		b := before[address]
		all = append(all, rate{
			addressRow: r, sent: per(b.Sent, r.Sent), handled: per(b.Handled, r.Handled),
			wrong: per(b.Failed+b.Panics+lost(&b.Messages), r.Failed+r.Panics+lost(&r.Messages)),
		})
	}
	slices.SortFunc(all, func(a, b rate) int {
		return cmp.Or(cmp.Compare(b.sent+b.handled, a.sent+a.handled), cmp.Compare(a.Address.Address, b.Address.Address))
	})
	return all
}

// A look is what top shows, as JSON.
type look struct {
	Time      time.Time     `json:"time"`
	Addresses []addressLook `json:"addresses"`
}

type addressLook struct {
	Address   string  `json:"address"`
	Consumers int     `json:"consumers"`
	Sent      float64 `json:"sent_per_second"`
	Handled   float64 `json:"handled_per_second"`
	Wrong     float64 `json:"failed_or_lost_per_second"`
	Waiting   int     `json:"waiting"`
	Queued    int     `json:"queued"`
}

func (c *call) topScreen(s *inspect.Cluster, all []rate) error {
	all = all[:min(len(all), c.top)]
	if c.json {
		l := look{Time: s.Time}
		for _, r := range all {
			l.Addresses = append(l.Addresses, addressLook{r.Address.Address, r.Consumers, r.sent, r.handled, r.wrong, r.Waiting, r.Queued})
		}
		return c.document(l)
	}
	c.style.clear(c.out)
	fmt.Fprintf(c.out, "%s  %d nodes, %d missing\n\n", s.Time.Local().Format(time.TimeOnly), len(s.Nodes), len(s.Missing))
	t := c.newTable("ADDRESS", ">CONSUMERS", ">SENT/s", ">HANDLED/s", ">WRONG/s", ">WAITING", ">QUEUED")
	for _, r := range all {
		wrong := cell{perSecond(r.wrong), plain}
		if r.wrong > 0 {
			wrong.mood = bad
		}
		t.row(r.Address.Address, r.Consumers, perSecond(r.sent), perSecond(r.handled), wrong, zero(r.Waiting), zero(r.Queued))
	}
	t.write(c.out)
	c.missing(s)
	return nil
}

func perSecond(f float64) string {
	if f == 0 {
		return "."
	}
	return strconv.FormatFloat(f, 'f', 1, 64)
}

// rtt shows how long packets take from the node to the others and back.
func rtt(ctx context.Context, c *call) error {
	client, err := c.attach(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	all, err := client.Ping(ctx)
	if err != nil {
		return err
	}
	if c.json {
		return c.document(all)
	}
	t := c.newTable("NAME", "ADDRESS", "STATUS", "LINK", ">PACKET", "")
	for _, p := range all {
		link := cell{"up", good}
		if !p.Linked {
			link = cell{"none", bad}
		}
		t.row(p.Name, p.Address, cell{p.Status, moodOf(p.Status)}, link, some(p.Packet, seconds), cell{p.Error, bad})
	}
	t.write(c.out)
	return nil
}
