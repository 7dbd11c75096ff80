package bus

import (
	"context"
	"time"
)

// question is one that came over a link and is not answered. Leaving waits for
// it.
type question struct {
	m     *Message
	timer *time.Timer
}

// asked (rule 16) makes a question of a reply that asks.
func (l *link) asked(m *Message, id uint64, deadline int64) {
	m.word, m.id, m.deadline = m.word|traits(kindRequest, 0, 0), id, deadline
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return // an answer gets the error
	}
	if l.questions == nil {
		l.questions = map[uint64]*question{}
	}
	if old := l.questions[id]; old != nil { // the peer breaks a rule
		old.timer.Stop()
	}
	left := time.Duration(deadline - l.clock.now())
	l.questions[id] = &question{m, time.AfterFunc(left, func() { l.questionOver(id, stateExpired) })} // stopped with the question
}

// takeQuestion forgets a question.
func (l *link) takeQuestion(id uint64) *Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.questions[id]
	if q == nil {
		return nil
	}
	q.timer.Stop()
	delete(l.questions, id)
	return q.m
}

// questionOver ends a question whose asker does not wait any more.
func (l *link) questionOver(id uint64, reason uint32) {
	if m := l.takeQuestion(id); m != nil {
		m.end(reason)
		l.leave.recheck()
	}
}

// endQuestionsLocked forgets all when the link has ended.
func (l *link) endQuestionsLocked() {
	for _, q := range l.questions {
		q.timer.Stop()
	}
	l.questions = nil
}

// notAnswered (rule 16) tells the peer, at once, that nobody answers its question; id is
// 0 if there is none.
func (l *link) notAnswered(id uint64, e *ReplyError) {
	if id == 0 {
		return
	}
	_ = l.takeReply(context.Background(), &reply{id: id, failed: true, now: true, code: e.Code, body: []byte(e.Message)})
	l.soon()
}

// answered forgets a question that was answered, or cannot be.
func (l *link) answered(m *Message) {
	if m.isQuestion() {
		l.takeQuestion(m.id)
		l.leave.recheck()
	}
}
