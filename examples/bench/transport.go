package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The systems that are compared.
const (
	runrigSystem = "runrig"
	natsSystem   = "nats"
	floorSystem  = "floor"
)

// errNotYet marks what a system says it cannot do.
var errNotYet = errors.New("not yet")

// callTimeout is the deadline of what has none of its own.
const callTimeout = 30 * time.Second

// A transport is what a process uses of the system that is measured. Every
// system is used as its own documentation advises. It ends with the process:
// how a system leaves is measured elsewhere.
type transport interface {
	// Addr is where processes that start later find this one; "" if they do not.
	Addr() string

	// Consume registers a consumer. Its function runs for one message at a
	// time, and does not keep the body.
	Consume(address string, f func(body []byte)) error

	// Answer registers a consumer that replies to each request.
	Answer(address string, f func(body []byte) []byte) error

	// Known waits until all linked processes know the consumers.
	Known(ctx context.Context) error

	// Send, Publish and Request do not keep the body after they have returned.
	Send(address string, body []byte) error
	Publish(address string, body []byte) error

	// Request waits for the reply. It costs a deadline only if ctx has one.
	Request(ctx context.Context, address string, body []byte) ([]byte, error)

	// Flush sees to it that what was sent is on its way.
	Flush() error
}

// Roles of the processes of a system.
const (
	hubRole      = "hub"
	receiverRole = "receiver"
	senderRole   = "sender"
	localRole    = "local" // both in one process
)

// Setup says what a process starts.
type Setup struct {
	System string
	Role   string
	Addrs  []string // of the processes that were started before, in their order
	Keys   *Keys    // nil: no encryption
}

// newTransport starts this process's part in a system.
func newTransport(ctx context.Context, s Setup) (transport, error) {
	switch {
	case s.Role == hubRole:
		return newHub(s)
	case s.System == runrigSystem:
		return newRunrig(ctx, s)
	case s.System == natsSystem:
		return newNATS(s)
	case s.System == floorSystem && s.Role == localRole:
		return newChannels(), nil
	case s.System == floorSystem:
		return newFloor(s)
	}
	return nil, fmt.Errorf("no system %q with role %q", s.System, s.Role)
}
