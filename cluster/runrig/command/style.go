package command

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// show returns text that others have made as it may be printed: what is not printable,
// or would change what is around it, as an escape.
func show(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// fit is show, cut to so many characters.
func fit(s string, n int) string {
	s = show(s)
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// A style is how a terminal is written to; the zero one is for what is none.
type style struct{ terminal, colour bool }

func styleOf(e *env) style {
	f, ok := e.out.(*os.File)
	if !ok {
		return style{}
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return style{}
	}
	return style{terminal: true, colour: e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb"}
}

// A mood is the colour of a cell.
type mood int

const (
	plain mood = iota
	good
	warn
	bad
	faint
)

var moods = [...]string{good: "\x1b[32m", warn: "\x1b[33m", bad: "\x1b[31m", faint: "\x1b[2m"}

func (s style) paint(m mood, text string) string {
	if !s.colour || m == plain {
		return text
	}
	return moods[m] + text + "\x1b[0m"
}

// clear begins a screen anew.
func (s style) clear(w io.Writer) {
	if s.terminal {
		_, _ = io.WriteString(w, "\x1b[H\x1b[J")
	}
}

// A table has rows of cells. Columns of numbers are aligned at their right.
type table struct {
	style style
	head  []string
	right map[int]bool
	rows  [][]cell
}

type cell struct {
	text string
	mood mood
}

// newTable returns a table with these columns; those whose names begin with ">" are of
// numbers.
func (c *call) newTable(columns ...string) *table {
	t := &table{style: c.style, right: map[int]bool{}}
	for i, name := range columns {
		t.right[i] = strings.HasPrefix(name, ">")
		t.head = append(t.head, strings.TrimPrefix(name, ">"))
	}
	return t
}

// row adds a row of texts, numbers and cells.
func (t *table) row(values ...any) {
	var cells []cell
	for _, v := range values {
		switch v := v.(type) {
		case cell:
			cells = append(cells, cell{fit(v.text, maxCell), v.mood})
		default:
			cells = append(cells, cell{fit(fmt.Sprint(v), maxCell), plain})
		}
	}
	t.rows = append(t.rows, cells)
}

// maxCell is how wide a cell may be.
const maxCell = 80

func (t *table) write(w io.Writer) {
	widths := make([]int, len(t.head))
	head := make([]cell, len(t.head))
	for i, h := range t.head {
		head[i] = cell{h, faint}
	}
	all := append([][]cell{head}, t.rows...)
	for _, row := range all {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, row := range all {
		var b strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			text := t.style.paint(c.mood, c.text)
			switch {
			case t.right[i]:
				b.WriteString(pad + text)
			case i < len(row)-1:
				b.WriteString(text + pad)
			default:
				b.WriteString(text)
			}
			if i < len(row)-1 {
				b.WriteString("  ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// seconds shows a time as people do: 3ms, 4.2s, 5m, 3h, 2d.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 0:
		return "0s"
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + "µs"
	case d < time.Second:
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'g', 3, 64) + "ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + "d"
}

// since is seconds from a time of a node to now, by the node's clock.
func since(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	return seconds(now.Sub(then).Seconds())
}

// bytesText shows a size as people do.
func bytesText(n uint64) string {
	const units = "KMGT"
	if n < 1024 {
		return strconv.FormatUint(n, 10) + "B"
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + units[i:i+1] + "iB"
}

// some shows a figure that may not be known.
func some[T any](v *T, f func(T) string) string {
	if v == nil {
		return "-"
	}
	return f(*v)
}

// zero shows nothing for zero, so that what is not stands out.
func zero[T int | uint64](n T) string {
	if n == 0 {
		return "."
	}
	return fmt.Sprint(n)
}
