package model

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"time"
)

// A system has states, which are values whose slices are never written in place.
type system[S any] interface {
	start() *S
	next(s *S, step func(label, *S))
	encode(s *S, b []byte) []byte // the same bytes for the same state
	wrong(s *S) string            // what the last step has broken
	end(s *S) string              // what is wrong with an end: where no step is left but faults
}

// label says which step it is. A fault is one that need not come: a connection that
// breaks, a node that crashes, a caller that gives up.
type label struct {
	fault bool
	text  string
	args  []any
}

func does(text string, args ...any) label  { return label{text: text, args: args} }
func fault(text string, args ...any) label { return label{true, text, args} }

func (l label) String() string { return fmt.Sprintf(l.text, l.args...) }

// finding is an error, and the shortest way there.
type finding struct {
	what  string
	trace []string
}

// search is a breadth-first search.
type search[S any] struct {
	system[S]
	seeds    [2]maphash.Seed
	buf      []byte
	seen     map[[2]uint64]uint32
	parent   []uint32 // by state: from which one it was reached first,
	step     []uint16 // and by which of its steps
	from, to []uint32 // edges
	good     []uint32 // ends
	queue    []queued[S]
	findings []finding
	complete bool
}

type queued[S any] struct {
	s *S
	i uint32
}

// limits bound a search.
type limits struct {
	states int
	first  bool // it ends at the first error
}

func explore[S any](sys system[S], lim limits) *search[S] {
	x := &search[S]{system: sys, seen: map[[2]uint64]uint32{}, complete: true}
	x.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	x.add(sys.start(), 0, 0)
	for len(x.queue) > 0 {
		q := x.queue[0]
		x.queue[0] = queued[S]{}
		x.queue = x.queue[1:]
		x.expand(q)
		if lim.first && len(x.findings) > 0 || len(x.parent) > lim.states {
			x.complete = false
			return x
		}
	}
	if len(x.findings) == 0 {
		x.findEndless()
	}
	return x
}

// key is a hash of a state of 128 bits.
func (x *search[S]) key(s *S) [2]uint64 {
	x.buf = x.encode(s, x.buf[:0])
	return [2]uint64{maphash.Bytes(x.seeds[0], x.buf), maphash.Bytes(x.seeds[1], x.buf)}
}

// add adds a state that has not been seen, and returns its number.
func (x *search[S]) add(s *S, parent uint32, step int) uint32 {
	k := x.key(s)
	if i, ok := x.seen[k]; ok {
		return i
	}
	i := uint32(len(x.parent))
	x.seen[k] = i
	x.parent, x.step = append(x.parent, parent), append(x.step, uint16(step))
	if what := x.wrong(s); what != "" {
		x.report(what, i)
		return i
	}
	x.queue = append(x.queue, queued[S]{s, i})
	return i
}

func (x *search[S]) expand(q queued[S]) {
	steps, ordinary := 0, 0
	x.next(q.s, func(l label, n *S) {
		if !l.fault {
			ordinary++
		}
		x.from, x.to = append(x.from, q.i), append(x.to, x.add(n, q.i, steps))
		steps++
	})
	if ordinary > 0 {
		return
	}
	if what := x.end(q.s); what != "" {
		x.report(what, q.i)
	} else {
		x.good = append(x.good, q.i)
	}
}

// report notes an error; of each kind the first, whose trace is the shortest.
func (x *search[S]) report(what string, at uint32) {
	for _, f := range x.findings {
		if f.what == what {
			return
		}
	}
	x.findings = append(x.findings, finding{what, x.trace(at)})
}

// trace tells the steps that lead to a state.
func (x *search[S]) trace(at uint32) (told []string) {
	var steps []int
	for ; at != 0; at = x.parent[at] {
		steps = append(steps, int(x.step[at]))
	}
	s := x.start()
	for k := len(steps) - 1; k >= 0; k-- {
		i, before := 0, s
		x.next(before, func(l label, n *S) {
			if i == steps[k] {
				told, s = append(told, l.String()), n
			}
			i++
		})
	}
	return told
}

// findEndless looks for a state from which no good end can be reached.
func (x *search[S]) findEndless() {
	into := make([][]uint32, len(x.parent))
	for i, to := range x.to {
		into[to] = append(into[to], x.from[i])
	}
	ends := make([]bool, len(x.parent))
	todo := append([]uint32(nil), x.good...)
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		if todo = todo[:len(todo)-1]; !ends[i] {
			ends[i] = true
			todo = append(todo, into[i]...)
		}
	}
	for i, ok := range ends {
		if !ok {
			x.report("it never ends", uint32(i))
			return
		}
	}
}

// walk takes steps at random, to an end each time, where a system is too large to be
// searched. It returns how many walks it took.
func walk[S any](sys system[S], seed uint64, until time.Time) (walks int, found *finding) {
	r := rand.New(rand.NewPCG(seed, 0))
	for ; time.Now().Before(until); walks++ {
		s := sys.start()
		var took []label
		what := ""
		for what == "" {
			l, n := pick(sys, s, r)
			if n == nil {
				what = sys.end(s)
				break
			}
			s, took = n, append(took, l)
			what = sys.wrong(s)
		}
		if what != "" {
			return walks, &finding{what, texts(took)}
		}
	}
	return walks, nil
}

func texts(took []label) (told []string) {
	for _, l := range took {
		told = append(told, l.String())
	}
	return told
}

// pick returns one of the next steps, an ordinary one rather than a fault; nil at an
// end.
func pick[S any](sys system[S], s *S, r *rand.Rand) (took label, to *S) {
	ordinary, n := 0, 0
	sys.next(s, func(l label, next *S) {
		if !l.fault {
			ordinary++
		} else if r.IntN(8) > 0 {
			return
		}
		if n++; r.IntN(n) == 0 {
			took, to = l, next
		}
	})
	if ordinary == 0 {
		return label{}, nil
	}
	return took, to
}
