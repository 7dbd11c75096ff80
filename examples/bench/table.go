package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// printGroup prints a table for each case of a group.
func printGroup(w io.Writer, g *group) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	var last *benchCase
	for _, c := range g.cells {
		if c.c != last {
			fmt.Fprintf(tw, "\n%s: %s\n", c.c.name, c.c.what)
			fmt.Fprint(tw, "\trate/s\tMB/s\tp50 µs\tp99 µs\tCPU µs\tallocs\tlost\trounds\t\n")
			last = c.c
		}
		fmt.Fprintln(tw, row(c))
	}
	_ = tw.Flush() // to w, whose errors Fprint told nobody either
}

func row(c *cell) string {
	switch {
	case c.err != nil:
		return c.system + "\tFAILED\t"
	case c.notYet != "":
		return c.system + "\tnot yet\t"
	}
	s := c.system
	for _, m := range []metric{rateOf, mbpsOf, p50Of, p99Of, cpuOf, allocsOf} {
		s += "\t" + short(c.median(m))
	}
	s += fmt.Sprintf("\t%d\t%d\t", c.lost(), len(c.samples))
	if v := c.median(memoryOf); v > 0 {
		s += "\t" + short(v) + " B each\t"
	}
	if v := c.median(streamedOf); v > 0 {
		s += "\tbeside " + short(v) + " MB/s\t"
	}
	return s
}

// short writes three digits, and k or M for thousands and millions.
func short(v float64) string {
	unit := ""
	switch {
	case v >= 1e6:
		v, unit = v/1e6, "M"
	case v >= 1e4:
		v, unit = v/1e3, "k"
	}
	digits := 0
	switch {
	case v == 0:
		return "-"
	case v < 10:
		digits = 2
	case v < 100:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + unit
}

// printFigures prints what must be reached beside what was.
func printFigures(w io.Writer, r results) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "\nfigure\tmust\treached\t\tthen chase\t\n")
	for _, f := range figures {
		c := r.cell(f.of, runrigSystem)
		if c == nil {
			continue
		}
		v, ok := f.reached(r, runrigSystem)
		got, verdict := "not measured", ""
		if c.notYet != "" {
			got = "not yet"
		}
		if ok {
			got, verdict = short(v), "MISSED"
			if f.met(v, f.must) {
				verdict = "met"
			}
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t\n", f.what, f.limit(f.must), got, verdict, f.limit(f.chase))
	}
	for _, f := range voids {
		if v, ok := f.reached(r, floorSystem); ok {
			fmt.Fprintf(tw, "%s\t%s\t%s\t\t\t\n", f.what, f.limit(f.must), short(v))
		}
	}
	_ = tw.Flush()
}

func (f *figure) limit(v float64) string {
	switch {
	case v == 0:
		return ""
	case f.atMost:
		return "≤ " + strconv.FormatFloat(v, 'f', -1, 64) + " " + f.unit
	}
	return "≥ " + strconv.FormatFloat(v, 'f', -1, 64) + " " + f.unit
}
