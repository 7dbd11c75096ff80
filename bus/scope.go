package bus

import (
	"context"
	"fmt"
)

// scope is a turn and the consumers that a Do registers while it holds that.
type scope struct {
	turns
	core *core

	doing bool        // a Do holds the turn; guarded by turns.mu
	made  []*Consumer // that the Do has registered; guarded by turns.mu
}

func newScope(c *core) *scope { return &scope{turns: turns{crew: &c.crew, clock: &c.clock}, core: c} }

// stage keeps a consumer that a Do has registered until it has succeeded.
func (s *scope) stage(c *Consumer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doing {
		s.made = append(s.made, c)
	}
	return s.doing
}

func (s *scope) setDoing(on bool) (made []*Consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made, s.made, s.doing = s.made, nil, on
	return made
}

// do runs f with the turn.
func (s *scope) do(ctx context.Context, f func(context.Context) error) error {
	if turnOf(ctx).includes(&s.turns) {
		return fmt.Errorf("%w: Do in a scope whose turn the caller holds", ErrDeadlock)
	}
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	s.setDoing(true)
	ok := false
	defer func() {
		if !ok { // an error, or a panic that goes on
			for _, c := range s.setDoing(false) {
				_ = c.Close()
			}
		}
	}()
	held := &heldTurn{holder: &s.holder, outer: ctx}
	defer held.over.Store(true)
	if err := f(context.WithValue(ctx, turnKey{}, held)); err != nil {
		return err
	}
	made := s.setDoing(false)
	ok = true
	if len(made) == 0 {
		return nil
	}
	if err := s.core.announce(made...); err != nil {
		for _, c := range made {
			_ = c.Close()
		}
		return err
	}
	return nil
}
