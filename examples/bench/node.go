package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/signal"
	"runtime/pprof"
	"time"
)

// roleEnv makes this program a process of a system instead of the bench.
const roleEnv = "RUNRIG_BENCH_NODE"

// Addresses of consumers.
const (
	countAddress = "bench.count"
	echoAddress  = "bench.echo"
	bulkAddress  = "bench.bulk"
)

// Node is what the bench asks of a process, by net/rpc on its standard input
// and output.
type Node struct {
	t         transport
	receivers map[string]*receiver // by address
	answered  *answerer
	profile   *os.File
}

// None is an argument or result that says nothing.
type None struct{}

// serveNode runs until the bench closes standard input or is gone.
func serveNode() {
	signal.Ignore(os.Interrupt) // it is the bench's to end its processes
	s := rpc.NewServer()
	n := &Node{receivers: make(map[string]*receiver)}
	if err := s.Register(n); err != nil {
		panic(err) // a programmer's error
	}
	s.ServeConn(stdio{os.Stdin, os.Stdout})
}

type stdio struct {
	io.Reader
	io.Writer
}

func (stdio) Close() error { return nil }

// Start starts this process's part in a system and tells its address.
func (n *Node) Start(s Setup, addr *string) (err error) {
	if n.t, err = newTransport(context.Background(), s); err != nil {
		return err
	}
	*addr = n.t.Addr()
	return nil
}

// Usage tells what the process has used.
func (n *Node) Usage(_ None, u *Usage) error {
	*u = usage()
	return nil
}

// Profile begins to write a CPU profile to a file.
func (n *Node) Profile(path string, _ *None) (err error) {
	if n.profile, err = os.Create(path + ".cpu.pprof"); err != nil {
		return err
	}
	return pprof.StartCPUProfile(n.profile)
}

// EndProfile ends the CPU profile and writes one of allocations beside it.
func (n *Node) EndProfile(path string, _ *None) error {
	pprof.StopCPUProfile()
	f, err := os.Create(path + ".allocs.pprof")
	if err != nil {
		return err
	}
	return errors.Join(n.profile.Close(), pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}

// Count registers a consumer that counts.
func (n *Node) Count(address string, _ *None) error {
	r := &receiver{}
	n.receivers[address] = r
	if err := n.t.Consume(address, r.take); err != nil {
		return err
	}
	return n.t.Known(context.Background())
}

// ArmArgs announce a run to a consumer.
type ArmArgs struct {
	Address string
	Run     uint64
	Size    int
}

// Arm makes a consumer count from zero.
func (n *Node) Arm(a ArmArgs, _ *None) error {
	r := n.receivers[a.Address]
	if r == nil {
		return fmt.Errorf("no consumer of %q", a.Address)
	}
	r.arm(a.Run, a.Size)
	return nil
}

// Collect waits until a consumer has all of a run, or nothing comes any more.
func (n *Node) Collect(address string, got *Received) error {
	*got = n.receivers[address].collect()
	return nil
}

// Answer registers a consumer that sends back what it gets.
func (n *Node) Answer(address string, _ *None) error {
	n.answered = &answerer{}
	if err := n.t.Answer(address, n.answered.echo); err != nil {
		return err
	}
	return n.t.Known(context.Background())
}

// Answered tells how many requests the consumer has got since it was asked.
func (n *Node) Answered(_ None, count *int64) error {
	*count = n.answered.n.Swap(0)
	return nil
}

// First starts this process's part in a system, makes a first request, and
// tells how long both took.
func (n *Node) First(s Setup, d *time.Duration) (err error) {
	start := time.Now()
	if n.t, err = newTransport(context.Background(), s); err != nil {
		return err
	}
	body := newBody(128)
	reply, err := n.t.Request(context.Background(), echoAddress, body)
	*d = time.Since(start)
	if err == nil && len(reply) != len(body) {
		err = errors.New("the first reply is not what was asked")
	}
	return err
}
