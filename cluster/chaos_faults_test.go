package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// note keeps what was done: a kind, and to whom.
func (h *chaos) note(kind string, to ...any) {
	h.seen.add(kind, 1)
	h.did = append(h.did, fmt.Sprint(append([]any{kind, " "}, to...)...))
}

// pick takes a living node.
func (h *chaos) pick() int { return h.alive[h.rng.IntN(len(h.alive))] }

// lose takes a node from the living, if enough are left.
func (h *chaos) lose(what string, f func(int)) {
	if len(h.alive) <= 2 {
		return
	}
	i := h.pick()
	h.alive = slices.DeleteFunc(h.alive, func(j int) bool { return j == i })
	h.dead = append(h.dead, i)
	h.note(what, i)
	f(i)
}

// calm ends what is done to packets and delays.
func (h *chaos) calm() {
	n := h.c.Network()
	n.SetLoss(0)
	n.SetDuplicates(0)
	n.SetDelay(func(r *rand.Rand) time.Duration { return time.Duration(200+r.IntN(1800)) * time.Microsecond })
}

func (h *chaos) step() {
	i, j := h.pick(), h.pick()
	a, b := h.c.Node(i).IP, h.c.Node(j).IP
	switch h.rng.IntN(18) {
	case 0:
		h.lose("kill", h.c.Kill)
	case 1:
		h.lose("power off", h.c.PowerOff)
	case 2:
		h.lose("close", func(i int) { _ = h.c.Node(i).Close() })
	case 3:
		h.start()
	case 4, 5:
		h.restart()
	case 6:
		h.note("silence", i)
		h.c.Silence(i)
	case 7, 8:
		h.partition()
	case 9, 10:
		h.note("heal")
		h.c.Heal()
	case 11:
		h.note("reset", i, j)
		h.c.Reset(i, j)
	case 12:
		h.note("cut one way", i, j)
		h.c.Network().Cut(a, b)
	case 13:
		if i != j {
			h.note("stall one way", i, j)
			h.c.Block(i, j)
		}
	case 14:
		if i != j {
			h.note("two apart, both near the others", i, j)
			h.c.Block(i, j)
			h.c.Block(j, i)
		}
	case 15:
		h.pause(i)
	case 16:
		h.packets()
	case 17:
		h.mood.Store(h.rng.Int32N(moods))
		h.moody = true
		h.note([]string{"discovery tells", "discovery fails", "discovery tells nothing", "discovery lies"}[h.mood.Load()])
	}
}

func (h *chaos) start() {
	if len(h.alive) >= h.size+1 {
		return
	}
	i := h.c.Start()
	h.note("start", i)
	h.alive = append(h.alive, i)
	h.settle(i)
}

// partition splits the cluster in two that do not hear each other, or of which one
// hears the other.
func (h *chaos) partition() {
	k := 1 + h.rng.IntN(len(h.alive)-1)
	some, others := h.alive[:k], h.alive[k:]
	if h.rng.IntN(3) > 0 {
		h.note("partition", some)
		h.c.Partition(slices.Clone(some))
		return
	}
	h.note("partition one way", some)
	for _, i := range some {
		for _, j := range others {
			h.c.Block(i, j)
		}
	}
}

// pause stops a node for a while, so short that its links hold, or longer.
func (h *chaos) pause(i int) {
	d := time.Duration(500+h.rng.IntN(1500)) * time.Millisecond
	if h.rng.IntN(2) == 0 {
		d *= 10
	}
	h.note("pause", i, " for ", d)
	h.c.Pause(i)
	ip, n := h.c.Node(i).IP, h.c.Network()
	h.calls.Go(func() {
		select {
		case <-time.After(d):
			n.Resume(ip)
		case <-h.stop:
		}
	})
}

// packets are lost, doubled or late, or not any more.
func (h *chaos) packets() {
	n := h.c.Network()
	switch h.rng.IntN(4) {
	case 0:
		h.note("packets lost")
		n.SetLoss(h.rng.Float64() * 0.3)
	case 1:
		h.note("packets twice")
		n.SetDuplicates(h.rng.Float64() * 0.5)
	case 2:
		h.note("all late")
		most := 1 + h.rng.IntN(100)
		n.SetDelay(func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(most*1000)) * time.Microsecond })
	case 3:
		h.note("calm")
		h.calm()
	}
}

// restart starts a node at the address of a dead one, once discovery can tell.
func (h *chaos) restart() {
	if len(h.dead) == 0 || len(h.alive) >= h.size+1 {
		return
	}
	k := h.rng.IntN(len(h.dead))
	i := h.dead[k]
	h.dead = slices.Delete(h.dead, k, k+1)
	j := h.c.Restart(i)
	h.note("restart at the address", i, " as ", j)
	h.alive = append(h.alive, j)
	h.settle(j)
}
