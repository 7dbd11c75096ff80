package dashboard

import (
	"context"
	"errors"
	"sync"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/inspect"
)

// A source tells of the cluster, by way of one node. The methods may be called
// concurrently.
type source interface {
	// cluster asks all nodes. An error says that no node answers at all.
	cluster(ctx context.Context, q inspect.Query) (inspect.Cluster, error)
	// events calls f with what the node remembers, and is told of members and links
	// from then on, until f returns false, ctx ends or the node is gone.
	events(ctx context.Context, last int, f func(inspect.Event) bool)
	call(ctx context.Context, c inspect.Call) (inspect.Answer, error)
	listen(ctx context.Context, l inspect.Listen, known func(), f func(inspect.Said) bool) error
	// rest says that nobody looks.
	rest()
}

// nodeSource is a node of this process.
type nodeSource struct {
	node *cluster.Node
	of   *inspect.Inspector
}

var errDown = errors.New("the node that served this page has closed")

func (s *nodeSource) cluster(ctx context.Context, q inspect.Query) (inspect.Cluster, error) {
	if s.node.State() >= cluster.StateLeft {
		return inspect.Cluster{}, errDown
	}
	return s.of.Cluster(ctx, q)
}

func (s *nodeSource) events(ctx context.Context, last int, f func(inspect.Event) bool) {
	s.of.OwnEvents(ctx, last, f)
}

func (s *nodeSource) call(ctx context.Context, c inspect.Call) (inspect.Answer, error) {
	return s.of.Call(ctx, c)
}

func (s *nodeSource) listen(ctx context.Context, l inspect.Listen, known func(), f func(inspect.Said) bool) error {
	return s.of.Listen(ctx, l, known, f)
}

func (s *nodeSource) rest() {}

// clientSource is a node of another process: one that answers.
type clientSource struct {
	dial func(context.Context) (*inspect.Client, error)

	mu     sync.Mutex
	client *inspect.Client // nil: none is dialled
}

// at returns the client, and dials if there is none.
func (s *clientSource) at(ctx context.Context) (*inspect.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	c, err := s.dial(ctx)
	if err == nil {
		s.client = c
	}
	return c, err
}

// drop closes a client that is of no use any more.
func (s *clientSource) drop(c *inspect.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == c && c != nil {
		c.Close()
		s.client = nil
	}
}

// cluster asks the node, and another one if that is gone.
func (s *clientSource) cluster(ctx context.Context, q inspect.Query) (inspect.Cluster, error) {
	var errs error
	for range 2 {
		c, err := s.at(ctx)
		if err != nil {
			return inspect.Cluster{}, err
		}
		seen, err := c.Cluster(ctx, q)
		if err == nil {
			return seen, nil
		}
		s.drop(c)
		errs = err
	}
	return inspect.Cluster{}, errs
}

func (s *clientSource) events(ctx context.Context, last int, f func(inspect.Event) bool) {
	c, err := s.at(ctx)
	if err != nil {
		return // cluster tells
	}
	_ = c.OwnEvents(ctx, last, f)
}

func (s *clientSource) call(ctx context.Context, call inspect.Call) (a inspect.Answer, err error) {
	c, err := s.at(ctx)
	if err != nil {
		return a, err
	}
	return c.Call(ctx, call)
}

func (s *clientSource) listen(ctx context.Context, l inspect.Listen, known func(), f func(inspect.Said) bool) error {
	c, err := s.at(ctx)
	if err != nil {
		return err
	}
	return c.Listen(ctx, l, known, f)
}

func (s *clientSource) rest() {
	s.mu.Lock()
	c := s.client
	s.mu.Unlock()
	s.drop(c)
}
