package ecstest_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// startProgram starts the program of TestMain in a new task, and returns its output.
func startProgram(t *testing.T, fake *ecstest.Fake, what string, stopTimeout time.Duration) (*ecstest.Task, *bufio.Reader) {
	t.Helper()
	task := addTask(t, fake, ecstest.TaskConfig{Service: "web", Address: "127.0.0.2", StopTimeout: stopTimeout})
	output, written := io.Pipe()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), programEnv+"="+what)
	cmd.Stdout = written
	if err := task.Start(cmd); err != nil {
		t.Fatal(err)
	}
	return task, bufio.NewReader(output)
}

func TestStopSendsSIGTERM(t *testing.T) {
	t.Parallel()
	task, _ := startProgram(t, newFake(t, ecstest.Config{}), "node", time.Minute)
	if got := task.Status(); got != "RUNNING" {
		t.Errorf("status is %s while the process runs", got)
	}
	task.Stop()
	task.Stop() // makes no difference
	err := task.Wait()
	// The process may have been stopped before it could say that it handles the signal.
	if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || !signalled(exit, syscall.SIGTERM)) {
		t.Errorf("the process ended with %v, want an end by SIGTERM", err)
	}
	if got := task.Status(); got != "STOPPED" {
		t.Errorf("status is %s when the process is gone", got)
	}
}

func signalled(exit *exec.ExitError, by syscall.Signal) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == by
}

func TestSIGKILLComesAfterTheStopTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 200 * time.Millisecond
	fake := newFake(t, ecstest.Config{})
	task, output := startProgram(t, fake, "stubborn", timeout)
	if line, err := output.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the program said %q, %v", line, err)
	}
	start := time.Now()
	task.Stop()
	if got := task.Status(); got != "STOPPING" {
		t.Errorf("status is %s while the process is told to stop", got)
	}
	err := task.Wait()
	if took := time.Since(start); took < timeout {
		t.Errorf("the process was killed after %v, want %v at the earliest", took, timeout)
	}
	if exit := new(exec.ExitError); !errors.As(err, &exit) || !signalled(exit, syscall.SIGKILL) || !strings.Contains(err.Error(), "did not stop within 200ms") {
		t.Errorf("the process ended with %v, want that it did not stop and was killed", err)
	}
}

func TestTaskEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	task, _ := startProgram(t, fake, "exit 3", 0)
	if exit := new(exec.ExitError); !errors.As(task.Wait(), &exit) || exit.ExitCode() != 3 {
		t.Errorf("Wait gave %v, want exit code 3", task.Wait())
	}
	if got := task.Status(); got != "STOPPED" {
		t.Errorf("status is %s", got)
	}
	task.Stop()
	task.Kill()
	if got := task.Status(); got != "STOPPED" {
		t.Errorf("status is %s after another Stop", got)
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	task, output := startProgram(t, fake, "stubborn", 0)
	if _, err := output.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	task.Kill()
	if exit := new(exec.ExitError); !errors.As(task.Wait(), &exit) || !signalled(exit, syscall.SIGKILL) {
		t.Errorf("Wait gave %v, want SIGKILL", task.Wait())
	}
	without := addTask(t, fake, ecstest.TaskConfig{Address: "127.0.0.3"})
	without.Kill()
	if err := without.Wait(); err != nil || without.Status() != "STOPPED" {
		t.Errorf("a task without a process is %s, %v after Kill", without.Status(), err)
	}
}

// Close leaves no process behind.
func TestCloseKillsProcesses(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	task, output := startProgram(t, fake, "stubborn", 0)
	if _, err := output.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	task.Stop() // is ignored
	if err := fake.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- task.Wait() }() // received below
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the process ended well, want it killed")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the process is there after Close")
	}
	if err := task.Start(exec.Command(os.Args[0])); err == nil {
		t.Error("Start after Close gave no error")
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	fake := newFake(t, ecstest.Config{})
	task := addTask(t, fake, ecstest.TaskConfig{Address: "127.0.0.2"})
	if err := task.Start(exec.Command("/absent/program")); err == nil || !strings.Contains(err.Error(), "/absent/program") {
		t.Errorf("Start gave %v, want an error that names the program", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), programEnv+"=stubborn")
	if err := task.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := task.Start(exec.Command(os.Args[0])); err == nil || !strings.Contains(err.Error(), "started before") {
		t.Errorf("a second Start gave %v", err)
	}
	cancel() // ends the process too
	if err := task.Wait(); err == nil {
		t.Error("the process ended well, want it killed by its context")
	}
}
