package bus

import "time"

// question is one that came over a link and is not answered. Leaving waits for
// it.
type question struct {
	m     *Message
	timer *time.Timer
}

// questions is the questions that came over a link and are not answered.
type questions struct {
	*services
	*writer
	byID map[uint64]*question // guarded by writer.mu
}

// add (rule 16) makes a question of a reply that asks.
func (qs *questions) add(m *Message, id uint64, deadline int64) {
	m.bits, m.id, m.deadline = m.bits|traits(kindRequest, 0, 0), id, deadline
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if qs.err != nil {
		return // an answer gets the error
	}
	if qs.byID == nil {
		qs.byID = map[uint64]*question{}
	}
	if old := qs.byID[id]; old != nil { // the peer breaks a rule
		old.timer.Stop()
	}
	left := time.Duration(deadline - qs.clock.now())
	qs.byID[id] = &question{m, time.AfterFunc(left, func() { qs.end(id, stateExpired) })} // stopped with the question
}

// take forgets a question.
func (qs *questions) take(id uint64) *Message {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.byID[id]
	if q == nil {
		return nil
	}
	q.timer.Stop()
	delete(qs.byID, id)
	return q.m
}

// end ends a question whose asker does not wait any more.
func (qs *questions) end(id uint64, reason uint32) {
	if m := qs.take(id); m != nil {
		m.end(reason)
		qs.leave.recheck()
	}
}

// forgetAllLocked forgets all when the link has ended.
func (qs *questions) forgetAllLocked() {
	for _, q := range qs.byID {
		q.timer.Stop()
	}
	qs.byID = nil
}
