package main

import (
	"encoding/json"
	"io"
	"math"
)

// line is a cell as one object in JSON.
type line struct {
	Case     string  `json:"case"`
	System   string  `json:"system"`
	Rate     float64 `json:"rate"`
	MBps     float64 `json:"mb_s"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	CPU      float64 `json:"cpu_us"`
	Allocs   float64 `json:"allocs"`
	Lost     int64   `json:"lost"`
	Rounds   int     `json:"rounds"`
	Bytes    float64 `json:"bytes,omitempty"`         // of memory, of each consumer or node
	Streamed float64 `json:"streamed_mb_s,omitempty"` // large bodies beside
	NotYet   string  `json:"not_yet,omitempty"`       // why nothing was measured
	Error    string  `json:"error,omitempty"`
}

func printJSON(w io.Writer, g *group) error {
	e := json.NewEncoder(w)
	for _, c := range g.cells {
		l := line{
			Case: c.c.name, System: c.system,
			Rate: digits(c.median(rateOf)), MBps: digits(c.median(mbpsOf)),
			P50: digits(c.median(p50Of)), P99: digits(c.median(p99Of)),
			CPU: digits(c.median(cpuOf)), Allocs: digits(c.median(allocsOf)),
			Lost: c.lost(), Rounds: len(c.samples),
			Bytes: digits(c.median(memoryOf)), Streamed: digits(c.median(streamedOf)),
			NotYet: c.notYet,
		}
		if c.err != nil {
			l.Error = c.err.Error()
		}
		if err := e.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

// digits rounds to four digits: more would say what was not measured.
func digits(v float64) float64 {
	if v == 0 {
		return 0
	}
	p := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*p) / p
}
