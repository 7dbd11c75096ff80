package model

func (x *mesh) register(s *meshState, c, i int) {
	s.consumer[c].number = x.freeNumber(s, i)
	s.consumer[c].state = live
	for j := range x.others(i) {
		if s.end(i, j).state == linkUp {
			s.consumer[c].told[j] = toAdd
			x.routesChanged(s, i, j)
		}
	}
}

// routesChanged writes what has changed, unless the link is slow.
func (x *mesh) routesChanged(s *meshState, i, j int) {
	if !x.slow {
		x.writeRoutes(s, i, j)
	}
}

// hasRoutes reports whether the link of i to j has a ROUTES to write.
func (x *mesh) hasRoutes(s *meshState, i, j int) bool {
	if !x.mayWriteRoutes(s, i, j) {
		return false
	}
	for c := range x.consumersOf(i) {
		if t := s.consumer[c].told[j]; t == toAdd || t == toRemove {
			return true
		}
	}
	return false
}

func (x *mesh) mayWriteRoutes(s *meshState, i, j int) bool {
	e := s.end(i, j)
	said := (e.saidLeaving || e.mustSayLeaving) && !x.out.has(noAdditionsLeaving)
	return e.state == linkUp && !e.saidGoodbye && !said && !(e.peerLeaves && x.out.has(routesToLeaver))
}

// writeRoutes writes additions and removals (rule 6), those additions that use a number
// again in a frame of their own, as they may have to wait; and behind a removal what its
// consumer sends back (rule 4).
func (x *mesh) writeRoutes(s *meshState, i, j int) {
	if !x.hasRoutes(s, i, j) {
		return
	}
	e := s.end(i, j)
	var f, again frame
	for c := range x.consumersOf(i) {
		switch cn := &s.consumer[c]; {
		case cn.told[j] == toAdd && cn.number < e.highest:
			again.n |= 1 << c
		case cn.told[j] == toAdd:
			f.n |= 1 << c
		case cn.told[j] == toRemove:
			f.of |= 1 << c
		}
	}
	again.flag = true
	x.writeRoutesFrame(s, i, j, f)
	x.writeRoutesFrame(s, i, j, again)
}

func (x *mesh) writeRoutesFrame(s *meshState, i, j int, f frame) {
	if f.n|f.of == 0 {
		return
	}
	e := s.end(i, j)
	f.kind = frameRoutes
	x.write(s, i, j, f)
	e.unacked = push(e.unacked, f)
	for c := range x.consumersOf(i) {
		cn := &s.consumer[c]
		if f.n>>c&1 != 0 {
			cn.told[j] = added
			e.highest = max(e.highest, cn.number+1)
			if x.out.has(knownWhenAcked) {
				cn.told[j] = known
			}
		}
		if f.of>>c&1 == 0 {
			continue
		}
		cn.told[j] = removed
		x.sendAllBack(s, c, i, j)
		if x.out.has(doneWhenAcked) {
			x.write(s, i, j, frame{kind: frameRoutesDone, number: cn.number, of: uint8(c)})
		}
	}
}

// readRoutes takes over the routes of j and acknowledges them.
func (x *mesh) readRoutes(s *meshState, i, j int, f frame) {
	e := s.end(i, j)
	for c := range x.consumersOf(j) {
		if f.of>>c&1 == 0 {
			continue
		}
		rt := &e.routes[s.consumer[c].number]
		if rt.state != liveRoute || int(rt.consumer) != c {
			s.fail("a route is removed that is not there")
			return
		}
		x.removeRoute(rt)
	}
	for c := range x.consumersOf(j) {
		if f.n>>c&1 != 0 {
			x.addRoute(s, e, c)
		}
	}
	x.write(s, i, j, frame{kind: frameRoutesAck})
}

func (x *mesh) addRoute(s *meshState, e *end, c int) {
	rt := &e.routes[s.consumer[c].number]
	switch {
	case e.peerLeaves:
		s.fail("a ghost: a route is added after LEAVING")
	case rt.state == liveRoute:
		s.fail("a route is added whose number is in use")
	case rt.state == goneRoute && rt.out > 0 && !x.out.has(numberWhenSettled):
		s.fail("a number is used again while messages on it are unsettled")
	case rt.state == goneRoute && !rt.over && rt.out == 0 && x.keyed:
		s.fail("a number is used again before all is back from its last consumer")
	default:
		*rt = route{liveRoute, uint8(c), x.window, 0, false}
	}
}

// removeRoute keeps the record of a route until all of it is settled and back (rule 3).
func (x *mesh) removeRoute(rt *route) {
	if rt.state != liveRoute {
		return
	}
	rt.state = goneRoute
	if x.out.has(recordKept) {
		*rt = route{}
	}
}

// readRoutesAck notes what j knows now, and no longer.
func (x *mesh) readRoutesAck(s *meshState, i, j int) {
	e := s.end(i, j)
	if len(e.unacked) == 0 {
		s.fail("an acknowledgement of no ROUTES")
		return
	}
	f := e.unacked[0]
	e.unacked = remove(e.unacked, 0)
	for c := range x.consumersOf(i) {
		cn := &s.consumer[c]
		if f.n>>c&1 != 0 {
			cn.knows |= nodes(j)
			if cn.told[j] == added {
				cn.told[j] = known
			}
		}
		if f.of>>c&1 != 0 && cn.told[j] == removed {
			cn.told[j] = forgotten
			if !x.out.has(doneWhenAcked) {
				x.write(s, i, j, frame{kind: frameRoutesDone, number: cn.number, of: uint8(c)})
			}
			x.freeNumberOf(s, c, i)
		}
	}
}

// readRoutesDone notes that nothing comes back any more from a consumer, or from all of
// a node that leaves.
func (x *mesh) readRoutesDone(s *meshState, i, j int, f frame) {
	e := s.end(i, j)
	for n := range e.routes {
		rt := &e.routes[n]
		if rt.state != goneRoute || !f.flag && n != int(f.number) {
			continue
		}
		e.done |= 1 << rt.consumer
		rt.over = true
		x.forgetRoute(rt)
	}
}

func (x *mesh) forgetRoute(rt *route) {
	if rt.state == goneRoute && rt.over && rt.out == 0 {
		*rt = route{}
	}
}

// closeConsumer closes a consumer: what came from its own node goes back at once, and
// on each link what came there behind the removal.
func (x *mesh) closeConsumer(s *meshState, c, i int, leaves bool) {
	cn := &s.consumer[c]
	cn.state = closing
	x.sendAllBack(s, c, i, i)
	for j := range x.others(i) {
		switch cn.told[j] {
		case toAdd:
			if !x.out.has(noAdditionsLeaving) {
				cn.told[j] = untold
			}
		case added, known:
			cn.told[j] = toRemove
			if x.out.has(removalFirst) {
				x.sendAllBack(s, c, i, j)
			}
		case untold: // the link is down
			x.sendAllBack(s, c, i, j)
		}
		if !leaves {
			x.routesChanged(s, i, j)
		}
	}
	x.freeNumberOf(s, c, i)
}

// freeNumberOf frees the number of a closed consumer once all links have acknowledged
// its removal, or have ended, and all that came is settled (rule 3).
func (x *mesh) freeNumberOf(s *meshState, c, i int) {
	cn := &s.consumer[c]
	if cn.state != closing {
		return
	}
	for j := range x.others(i) {
		if cn.told[j] != untold && cn.told[j] != forgotten {
			return
		}
		if s.end(i, j).owed[c] > 0 && !x.out.has(numberWhenSettled) {
			return
		}
	}
	if !x.out.has(numberWhenSettled) && (cn.busy || len(cn.mailbox) > 0) {
		return
	}
	cn.state = freed
}
