package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/runrig-go/runrig/cluster/internal/guard"
	"github.com/runrig-go/runrig/cluster/internal/wire"
)

// Only what said something wrong, or more than a moment's crowd, is worth a
// warning: health checks, port scans, slow networks and nodes that think better of
// a question close a connection, too, before they have said who they are.

// crowdedFor is how long there must have been too many such connections for that
// to be told. Each has dialTimeout: when many nodes start at once the crowd is
// gone by then.
const crowdedFor = 2 * dialTimeout

// A crowd is a time in which there are too many connections again and again.
type crowd struct {
	mu          sync.Mutex
	since, last time.Time
}

// note takes note that there is one too many, and reports whether that has lasted.
func (c *crowd) note() (lasting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.last) >= crowdedFor {
		c.since = now
	}
	c.last = now
	return now.Sub(c.since) >= crowdedFor
}

// stranger counts and logs a stream that was closed before its node told who it
// is.
func (p *port) stranger(c net.Conn, err error) {
	if p.ctx.Err() != nil {
		return
	}
	if refused := new(RefusedError); errors.As(err, &refused) {
		p.refused(refused)
		return
	}
	if guard.Stack(err) != nil {
		return // is this node's own fault, and logged
	}
	p.counts.stranger(err)
	address := c.RemoteAddr().String()
	switch {
	case isCrowd(err) && !p.crowd.note():
	case errors.Is(err, errSilent), hasEnded(err), hasTimedOut(err):
		p.log.Debug("a connection was closed before it said who it is", "address", address, "err", err)
	default:
		if held, ok := p.strangerLine.pass(); ok {
			p.log.Warn("closed a connection that is not from a node", "address", address, "err", err, "more", held)
		}
	}
}

// isCrowd reports whether an error says that there were too many.
func isCrowd(err error) bool {
	return errors.Is(err, errCrowded) || errors.Is(err, errCrowdedGossip)
}

// hasEnded reports whether an error says that the other end closed the connection,
// and not that what came before was wrong.
func hasEnded(err error) bool {
	if errors.Is(err, wire.ErrFormat) {
		return false
	}
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// hasTimedOut reports whether an error says that there was no more time.
func hasTimedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
