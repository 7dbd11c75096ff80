package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"time"
)

// process is one process of a system: this program again.
type process struct {
	name   string
	cmd    *exec.Cmd
	client *rpc.Client
	stderr bytes.Buffer
}

func startProcess(name string) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: exec.Command(exe)}
	p.cmd.Env = append(os.Environ(), roleEnv+"=1")
	p.cmd.Stderr = &p.stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.client = rpc.NewClient(pipes{out, in})
	return p, nil
}

type pipes struct {
	io.Reader
	io.WriteCloser
}

// call asks the process and waits for the answer.
func (p *process) call(ctx context.Context, method string, args, reply any) error {
	call := p.client.Go("Node."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
	case <-ctx.Done():
		return fmt.Errorf("%s of %s: %w", method, p.name, ctx.Err())
	}
	if call.Error != nil {
		return fmt.Errorf("%s of %s: %w", method, p.name, call.Error)
	}
	return nil
}

// stopAfter bounds how long a process may take to end.
const stopAfter = 5 * time.Second

// stop ends the process, by closing its input.
func (p *process) stop() error {
	_ = p.client.Close()
	kill := time.AfterFunc(stopAfter, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s ended: %w\n%s", p.name, err, p.said())
	}
	return nil
}

// said is what the process wrote to its standard error. It must have ended.
func (p *process) said() string { return strings.TrimSpace(p.stderr.String()) }
