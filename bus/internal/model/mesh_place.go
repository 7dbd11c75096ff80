package model

import "slices"

// send has a node send a message, or begin with a publish.
func (x *mesh) send(s *meshState, i, m int) {
	mc, w := x.messages[m], &s.message[m]
	w.sequence = 1
	for k, o := range x.messages {
		if k != m && o.from == mc.from && s.message[k].sequence >= w.sequence {
			w.sequence = s.message[k].sequence + 1
		}
	}
	if mc.kind != kindPublish {
		w.state = waiting
		s.wait[i][mc.address] = push(s.wait[i][mc.address], uint8(m))
		return
	}
	w.state, w.left = published, nodes(i)
	for j := range x.others(i) {
		if s.end(i, j).state == linkUp {
			w.left |= nodes(j)
		}
	}
}

// hasRoute reports whether a node knows a consumer of an address that takes turns.
func (x *mesh) hasRoute(s *meshState, i int, address uint8) bool {
	for c := range x.consumersOf(i) {
		if x.consumers[c].address == address && s.consumer[c].state == live && x.takesTurns(c) {
			return true
		}
	}
	for j := range x.others(i) {
		for n := range x.routesTo(s, i, j, address) {
			if x.takesTurns(int(s.end(i, j).routes[n].consumer)) {
				return true
			}
		}
	}
	return false
}

// takesTurns reports whether what is sent may go to a consumer (rule 14).
func (x *mesh) takesTurns(c int) bool { return !x.consumers[c].hears || x.out.has(publishedOnly) }

// routesTo yields the numbers of a node's routes to an address at another node.
func (x *mesh) routesTo(s *meshState, i, j int, address uint8) func(func(int) bool) {
	return func(yield func(int) bool) {
		e := s.end(i, j)
		if e.state != linkUp || e.saidGoodbye {
			return
		}
		for n := range e.routes {
			if rt := &e.routes[n]; rt.state == liveRoute && x.consumers[rt.consumer].address == address && !yield(n) {
				return
			}
		}
	}
}

// nextOfWaiting places what waits: first come first served, what was sent back first
// (rule 8).
func (x *mesh) nextOfWaiting(s *meshState, i int, do doing) {
	if ch := s.chosen[i]; ch.on != 0 {
		do(does("n%d appends m%d for #%d of n%d, without looking again", i, ch.message, ch.number, ch.node), func(s *meshState) { x.append(s, i) })
		return
	}
	for a := range uint8(maxAddresses) {
		if w := s.wait[i][a]; len(w) > 0 {
			x.nextOfFirst(s, i, int(a), x.firstOf(w), do)
		}
	}
}

// firstOf returns which of those that wait has its turn.
func (x *mesh) firstOf(w []uint8) int {
	if x.out.has(firstComeFirstServed) {
		return len(w) - 1
	}
	return 0
}

func (x *mesh) nextOfFirst(s *meshState, i, a, at int, do doing) {
	m := int(s.wait[i][a][at])
	open := false
	for c := range x.consumersOf(i) {
		if s.consumer[c].state != live || int(x.consumers[c].address) != a || !x.may(s, i, a, c) {
			continue
		}
		if open = true; x.localOut(s, i, c) < x.window {
			do(does("n%d gives m%d to its own c%d", i, m, c), func(s *meshState) { x.giveLocal(s, i, a, at, c) })
		}
	}
	for j := range x.others(i) {
		for n := range x.routesTo(s, i, j, uint8(a)) {
			rt := s.end(i, j).routes[n]
			if !x.may(s, i, a, int(rt.consumer)) {
				continue
			}
			if open = true; rt.balance > 0 || x.out.has(balancePositive) && rt.balance > -1 {
				do(does("n%d writes m%d to #%d of n%d (c%d)", i, m, n, j, rt.consumer), func(s *meshState) { x.give(s, i, a, at, j, n) })
			}
		}
	}
	x.nextOfStuck(s, i, a, at, open, do)
}

// isApart reports whether a node is never linked with some other.
func (x *mesh) isApart(j int) bool {
	return x.relinks == 0 && slices.ContainsFunc(x.unlinked, func(u [2]int) bool { return u[0] == j || u[1] == j })
}

// nextOfStuck ends the waiting of a message that nobody takes: it is handed over, or
// its deadline comes, or its caller gives up.
func (x *mesh) nextOfStuck(s *meshState, i, a, at int, open bool, do doing) {
	m := int(s.wait[i][a][at])
	stays := false
	if s.node[i] == leaving && x.messages[m].kind == kindSend && s.message[m].back && !open && !x.held(s, i, a) {
		for j := range x.others(i) {
			if e := s.end(i, j); e.state == linkUp && !e.saidGoodbye && (!e.peerLeaves || x.out.has(handoverToStayer)) &&
				(!x.isApart(j) || x.out.has(handoverWhereCalled)) {
				stays = true
				do(does("n%d hands m%d over to n%d", i, m, j), func(s *meshState) {
					s.wait[i][a] = remove(s.wait[i][a], at)
					s.message[m].state = placed
					x.write(s, i, j, frame{kind: frameHandover, message: uint8(m)})
				})
			}
		}
	}
	late := x.late && !open && !stays && !x.mayAppear(s, i, a)
	if !x.cancel && !late {
		return
	}
	l := does("n%d: the deadline of m%d comes", i, m)
	l.fault = !late
	do(l, func(s *meshState) {
		s.wait[i][a] = remove(s.wait[i][a], at)
		s.message[m].state = dead
		if x.messages[m].ends() {
			x.endRequest(s, m, gaveUp)
		}
	})
}

// mayAppear reports whether a consumer of the address may yet come to be known to a
// node.
func (x *mesh) mayAppear(s *meshState, i, a int) bool {
	if x.held(s, i, a) {
		return true
	}
	for c, cc := range x.consumers {
		n := int(cc.node)
		if int(cc.address) != a || cc.hears || n != i && s.end(i, n).state == linkDown && s.relinks == 0 {
			continue
		}
		if s.consumer[c].state == unborn && s.node[n] == running || s.consumer[c].state == live && s.isUp(n) {
			return true
		}
	}
	return false
}

// may reports whether what waits at an address may go to a consumer: of a key, to its
// owner only, and to none while the key is held.
func (x *mesh) may(s *meshState, i, a, c int) bool {
	if !x.takesTurns(c) {
		return false
	}
	if !x.keyed {
		return true
	}
	return !x.held(s, i, a) && x.owner(s, i, a) == c
}

// owner returns the consumer that owns the key among those that a node knows: here the
// one with the lowest number of all, which is the oldest. -1: there is none.
func (x *mesh) owner(s *meshState, i, a int) int {
	owner := maxConsumers
	for c := range x.consumersOf(i) {
		if s.consumer[c].state == live && int(x.consumers[c].address) == a {
			owner = min(owner, c)
		}
	}
	for j := range x.others(i) {
		for n := range x.routesTo(s, i, j, uint8(a)) {
			owner = min(owner, int(s.end(i, j).routes[n].consumer))
		}
	}
	return owner
}

// held reports whether the key of an address is held: a route that was its owner has
// gone, and messages may yet come back from it.
func (x *mesh) held(s *meshState, i, a int) bool {
	if !x.keyed || x.out.has(keysHeld) {
		return false
	}
	owner := x.owner(s, i, a)
	for j := range x.others(i) {
		for _, rt := range s.end(i, j).routes {
			if rt.state == goneRoute && !rt.over && int(x.consumers[rt.consumer].address) == a && int(rt.consumer) < owner {
				return true
			}
		}
	}
	return false
}

// localOut returns how many messages of its own node a consumer has.
func (x *mesh) localOut(s *meshState, i, c int) (n int8) {
	cn := &s.consumer[c]
	for _, e := range cn.mailbox {
		if int(e.from) == i {
			n++
		}
	}
	if cn.busy && int(cn.handles.from) == i {
		n++
	}
	return n
}

func (x *mesh) giveLocal(s *meshState, i, a, at, c int) {
	m := s.wait[i][a][at]
	w := &s.message[m]
	s.wait[i][a] = remove(s.wait[i][a], at)
	w.state = placed
	if x.messages[m].kind == kindRequest {
		w.pending = uint8(i + 1)
	}
	s.consumer[c].mailbox = push(s.consumer[c].mailbox, entry{m, w.hops, uint8(i), 0})
}

// give writes a message to a route (rule 1).
func (x *mesh) give(s *meshState, i, a, at, j, n int) {
	m := s.wait[i][a][at]
	rt := &s.end(i, j).routes[n]
	s.wait[i][a] = remove(s.wait[i][a], at)
	s.message[m].state = placed
	s.chosen[i] = choice{1, m, uint8(j), uint8(n), rt.consumer, s.pair(i, j).number}
	if !x.out.has(oneSection) {
		x.append(s, i)
	}
}

// append writes the message that has been chosen for a route.
func (x *mesh) append(s *meshState, i int) {
	ch := s.chosen[i]
	s.chosen[i] = choice{}
	j := int(ch.node)
	rt := &s.end(i, j).routes[ch.number]
	if rt.state == noRoute || rt.consumer != ch.consumer {
		*rt = route{goneRoute, ch.consumer, x.window, 0, true}
	}
	rt.balance--
	rt.out++
	w := &s.message[ch.message]
	if x.messages[ch.message].kind == kindRequest {
		w.pending, w.pendingLink = ch.node+1, s.pair(i, j).number
	}
	x.write(s, i, j, frame{kind: frameMsg, message: ch.message, number: ch.number, n: w.hops, of: ch.consumer})
}

// takeBack lets a message wait that was sent back to i by consumer c.
func (x *mesh) takeBack(s *meshState, i, m, c int) {
	w, mc := &s.message[m], x.messages[m]
	if w.state == dead || mc.kind == kindRequest && w.ended != notEnded {
		return
	}
	w.backFrom, w.pending = uint8(c+1), 0
	if w.hops++; int(w.hops) > x.closings() {
		s.fail("a message is sent back more often than consumers close")
	}
	x.waitAgain(s, i, m)
}

// waitAgain lets a message wait behind those that were sent back before it, and of a
// key behind those that were sent back as often (rule 8).
func (x *mesh) waitAgain(s *meshState, i, m int) {
	w, a := &s.message[m], x.messages[m].address
	w.back, w.state = true, waiting
	list := s.wait[i][a]
	at := 0
	for at < len(list) && !x.out.has(backInOrder) {
		o := &s.message[list[at]]
		if !o.back || x.keyed && o.hops < w.hops && !x.out.has(backByHops) {
			break
		}
		at++
	}
	s.wait[i][a] = insert(list, at, uint8(m))
}

// closings returns how often a message may be sent back: once by each consumer that
// closes, to each node, as one to which it is handed over may not know yet what the
// other has seen.
func (x *mesh) closings() (n int) {
	for _, cc := range x.consumers {
		if cc.closes || x.leaver.has(int(cc.node)) {
			n++
		}
	}
	if x.leaver != 0 {
		n *= x.nodes
	}
	return n
}
