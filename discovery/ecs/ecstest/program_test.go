package ecstest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

// A program runs as three tasks of a service, with no setting of its own, and is stopped as ECS
// stops it. (Here it is this test's own binary, which prints a line when it has found two others.)
func ExampleTask_Start() {
	fake, err := ecstest.New(ecstest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()
	program := os.Args[0]
	var tasks []*ecstest.Task
	var outputs []io.Reader
	for i := range 3 {
		task, err := fake.AddTask(ecstest.TaskConfig{Service: "web", Address: fmt.Sprintf("127.0.0.%d", i+2)})
		if err != nil {
			log.Fatal(err)
		}
		output, written := io.Pipe()
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "ECSTEST_PROGRAM=node")
		cmd.Stdout, cmd.Stderr = written, os.Stderr
		if err := task.Start(cmd); err != nil {
			log.Fatal(err)
		}
		tasks, outputs = append(tasks, task), append(outputs, output)
	}
	for _, output := range outputs {
		line, err := bufio.NewReader(output).ReadString('\n')
		fmt.Print(line)
		if err != nil {
			log.Fatal(err)
		}
	}
	for _, task := range tasks {
		task.Stop() // SIGTERM, and after 30 seconds SIGKILL
	}
	for _, task := range tasks {
		fmt.Println(task.Wait(), task.Status())
	}
	// Output:
	// found 2 others
	// found 2 others
	// found 2 others
	// <nil> STOPPED
	// <nil> STOPPED
	// <nil> STOPPED
}

func ExampleLifecycle() {
	fake, err := ecstest.New(ecstest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()
	steps := ecstest.Lifecycle(0) // at once; a second, say, for each step in a rehearsal
	task, err := fake.AddTask(ecstest.TaskConfig{Address: "10.0.0.1", Status: "PROVISIONING", Then: steps})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(steps), task.Status())
	// Output: 3 RUNNING
}

// A task that crashes is STOPPED; one that does not heed SIGTERM is killed when its
// stop timeout is over. Wait tells how each ended.
func ExampleTask_Kill() {
	fake, err := ecstest.New(ecstest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()
	for _, end := range []func(*ecstest.Task){(*ecstest.Task).Kill, (*ecstest.Task).Stop} {
		task, err := fake.AddTask(ecstest.TaskConfig{Service: "web", Address: "127.0.0.2", StopTimeout: 100 * time.Millisecond})
		if err != nil {
			log.Fatal(err)
		}
		output, written := io.Pipe()
		cmd := exec.Command(os.Args[0]) // a program that ignores SIGTERM
		cmd.Env = append(os.Environ(), "ECSTEST_PROGRAM=stubborn")
		cmd.Stdout = written
		if err := task.Start(cmd); err != nil {
			log.Fatal(err)
		}
		line, _ := bufio.NewReader(output).ReadString('\n')
		fmt.Print(line)
		end(task)
		err = task.Wait()
		exit := new(exec.ExitError)
		fmt.Println(errors.As(err, &exit), task.Status())
	}
	// Output:
	// ready
	// true STOPPED
	// ready
	// true STOPPED
}

// A task without a process is STOPPED at once, and there is nothing to wait for.
func ExampleTask_Stop() {
	fake, task := mustFake()
	defer fake.Close()
	task.Stop()
	fmt.Println(task.Status(), task.Wait())
	// Output: STOPPED <nil>
}
