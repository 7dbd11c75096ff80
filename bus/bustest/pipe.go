package bustest

import (
	"fmt"
	"net"
	"sync"
)

// defaultBuffer is what a socket on Linux usually holds for one direction.
const defaultBuffer = 256 << 10

// PipeOption changes how [Pipe] makes a stream.
type PipeOption interface{ applyToPipe(*pipeConfig) }

type pipeConfig struct {
	buffer       int
	addrA, addrB net.Addr
}

type pipeOption func(*pipeConfig)

func (o pipeOption) applyToPipe(c *pipeConfig) { o(c) }

// WithBuffer sets how many bytes each direction holds: those that were written
// and not read yet, wherever between the ends they are. A write that finds no
// room waits. The default is 256 KiB. It panics if bytes is less than 1.
func WithBuffer(bytes int) PipeOption {
	if bytes < 1 {
		panic(fmt.Sprintf("bustest: WithBuffer(%d): a pipe must hold at least 1 byte", bytes))
	}
	return pipeOption(func(c *pipeConfig) { c.buffer = bytes })
}

// WithAddrs sets the addresses of the two ends that [Pipe] returns, in that
// order. The default are addresses of the network "pipe" that read "a" and "b".
// It panics if one is nil.
func WithAddrs(a, b net.Addr) PipeOption {
	if a == nil || b == nil {
		panic("bustest: WithAddrs: nil address")
	}
	return pipeOption(func(c *pipeConfig) { c.addrA, c.addrB = a, b })
}

// Pipe returns the two ends of a stream in memory: what is written to one is
// read from the other. Close both when done.
func Pipe(opts ...PipeOption) (a, b *Conn) {
	cfg := pipeConfig{buffer: defaultBuffer, addrA: pipeAddr("a"), addrB: pipeAddr("b")}
	for _, o := range opts {
		o.applyToPipe(&cfg)
	}
	mu := new(sync.Mutex)
	a, b = newConn(mu, cfg.addrA), newConn(mu, cfg.addrB)
	a.peer, b.peer = b, a
	a.out = &lane{mu: mu, from: a, to: b, limit: cfg.buffer}
	b.out = &lane{mu: mu, from: b, to: a, limit: cfg.buffer}
	a.in, b.in = b.out, a.out
	return a, b
}

// pipeAddr is the address of an end that was given none.
type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }
