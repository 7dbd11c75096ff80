package main

import (
	"bytes"
	"context"
	"errors"
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

// stop lets the process leave its system, and ends it.
func (p *process) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopAfter)
	defer cancel()
	err := p.call(ctx, "Stop", None{}, &None{})
	_ = p.client.Close() // and with it the process's input
	kill := time.AfterFunc(stopAfter, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	err = errors.Join(err, p.cmd.Wait())
	if said := strings.TrimSpace(p.stderr.String()); said != "" && err != nil {
		err = fmt.Errorf("%w\n%s said:\n%s", err, p.name, said)
	}
	return err
}
