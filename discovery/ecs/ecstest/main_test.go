package ecstest_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery/ecs"
)

// programEnv makes this binary the program that the tests and examples run as a task.
const programEnv = "ECSTEST_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(programEnv) {
	case "":
		os.Exit(m.Run())
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		select {}
	case "exit 3":
		os.Exit(3)
	default:
		program()
	}
}

// program is what a user's program does in a task: it finds the others, and ends by SIGTERM.
func program() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	p, err := ecs.New(ctx, ecs.Config{})
	if err != nil {
		log.Fatal(err)
	}
	for ctx.Err() == nil {
		if peers, err := p.Peers(ctx); err == nil && len(peers) == 2 {
			fmt.Println("found 2 others")
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	<-ctx.Done()
}
