package ecstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// outputDelay is how long the output of a process is waited for when the
// process is gone.
const outputDelay = 2 * time.Second

// process plays a task.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process is gone
	err  error         // how it ended, once done is closed

	// guarded by fake.mu
	ended   bool        // the process is gone
	kill    *time.Timer // when it has been told to stop
	overdue bool        // kill came first
}

// Start starts cmd as the process that plays the task: with the variables of
// [Task.Env] added to its environment (cmd.Env, or this process's own when that
// is nil). When the process ends by itself the task is STOPPED, as ECS does
// when an essential container exits. [Task.Stop] and [Fake.Close] stop it. A
// task has at most one process.
func (t *Task) Start(cmd *exec.Cmd) error {
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, t.Env()...)
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = outputDelay
	}
	f := t.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return errors.New("ecstest: Start: the fake is closed")
	case t.process != nil:
		return fmt.Errorf("ecstest: Start: task %s has been started before", t.id)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("ecstest: starting task %s: %w", t.id, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	t.process = p
	go func() { // ends with the process, which Close kills and waits for
		defer close(p.done)
		err := cmd.Wait()
		t.exited(p, err)
	}()
	return nil
}

// exited records that the process is gone, and with it the task.
func (t *Task) exited(p *process, err error) {
	t.fake.mu.Lock()
	defer t.fake.mu.Unlock()
	p.ended = true
	if p.kill != nil {
		p.kill.Stop()
	}
	if err != nil {
		err = fmt.Errorf("ecstest: task %s: %w", t.id, err)
	}
	if p.overdue {
		err = fmt.Errorf("ecstest: task %s did not stop within %v: %w", t.id, t.cfg.StopTimeout, err)
	}
	p.err = err
	t.setStatus("STOPPED")
}

// Stop stops the task. Without a process it is STOPPED at once. A process gets
// SIGTERM and, if it is still there after TaskConfig.StopTimeout, SIGKILL; the
// task is STOPPING until the process is gone, then STOPPED. From now on it is
// not listed as one to run, but can still be described. Stop does not wait; see
// [Task.Wait]. Where there is no SIGTERM the process is killed at once.
func (t *Task) Stop() {
	t.fake.mu.Lock()
	defer t.fake.mu.Unlock()
	p := t.process
	if p == nil || p.ended {
		t.setStatus("STOPPED")
		return
	}
	t.setStatus("STOPPING")
	if p.kill != nil {
		return
	}
	p.kill = time.AfterFunc(t.cfg.StopTimeout, func() { // stopped by exited
		t.fake.mu.Lock()
		defer t.fake.mu.Unlock()
		if !p.ended {
			p.overdue = true
			_ = p.cmd.Process.Kill()
		}
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = p.cmd.Process.Kill()
	}
}

// Kill ends the process that plays the task with SIGKILL, as a crash or a lost
// host would. Without a process the task is STOPPED.
func (t *Task) Kill() {
	t.fake.mu.Lock()
	defer t.fake.mu.Unlock()
	if p := t.process; p != nil {
		_ = p.cmd.Process.Kill()
		return
	}
	t.setStatus("STOPPED")
}

// Wait waits until the process that plays the task is gone. The error says how
// it ended if not with exit code 0, or that it had to be killed; it wraps an
// *exec.ExitError. Without a process Wait returns nil at once.
func (t *Task) Wait() error {
	t.fake.mu.Lock()
	p := t.process
	t.fake.mu.Unlock()
	if p == nil {
		return nil
	}
	<-p.done
	return p.err
}

// killProcesses ends all processes and waits for them. No other can be started
// any more.
func (f *Fake) killProcesses() {
	f.mu.Lock()
	var running []*process
	for _, t := range f.tasks {
		if t.process != nil {
			running = append(running, t.process)
		}
	}
	f.mu.Unlock()
	for _, p := range running {
		_ = p.cmd.Process.Kill()
	}
	for _, p := range running {
		<-p.done
	}
}
