package model

import "time"

// A model is a system in one configuration.
type model struct {
	name   string
	large  bool // it can be walked only
	search func(breaches, limits) result
	walk   func(seed uint64, until time.Time) (int, *finding)
}

type result struct {
	states   int
	complete bool
	findings []finding
}

func models() (all []model) {
	for _, c := range meshCases() {
		m := of("mesh/"+c.name, func(out breaches) system[meshState] { return &mesh{c.config, out} })
		m.large = c.large
		all = append(all, m)
	}
	for _, c := range bulkCases() {
		all = append(all, of("bulk/"+c.name, func(out breaches) system[bulkState] { return &bulk{c.bulkConfig, out} }))
	}
	return append(all,
		of("window/window", func(out breaches) system[windowState] {
			return &window{windowConfig{messages: 4, rests: 2, grows: 2, first: 1, most: 4}, out}
		}),
		of("proof/two boots", func(out breaches) system[proofState] { return &proof{2, 3, 2, out} }),
		of("proof/three boots", func(out breaches) system[proofState] { return &proof{3, 4, 3, out} }))
}

func of[S any](name string, sys func(breaches) system[S]) model {
	return model{
		name: name,
		search: func(out breaches, lim limits) result {
			x := explore(sys(out), lim)
			return result{len(x.parent), x.complete, x.findings}
		},
		walk: func(seed uint64, until time.Time) (int, *finding) { return walk(sys(0), seed, until) },
	}
}
