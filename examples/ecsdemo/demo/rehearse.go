package demo

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/signal"

	"github.com/runrig-go/runrig/examples/ecsdemo/rehearsal"
)

func (s settings) rehearse(ctx context.Context) error {
	c := s.rehearsal
	c.Out = os.Stdout
	if _, _, ok := terminal(os.Stdout); ok && !s.log {
		c.Screen = &rehearsal.Screen{
			Size:  func() (columns, lines int) { columns, lines, _ = terminal(os.Stdout); return columns, lines },
			Plain: os.Getenv("NO_COLOR") != "",
		}
	}
	if s.gossip {
		c.Args, c.Lossy = append(c.Args, "-gossip"), true
	}
	if c.Deploy {
		c.Args = append(c.Args, "-stream")
	}
	return rehearsal.Run(ctx, c)
}

// followParent calls leave when the process that started this one closes this
// one's standard input, or dies; the channel is closed then, or at the first
// line. An interrupt is then the parent's: a terminal sends it to both.
func followParent(leave func()) (calm <-chan struct{}) {
	signal.Ignore(os.Interrupt)
	line := make(chan struct{})
	go func() { // until the process ends
		in := bufio.NewReader(os.Stdin)
		_, _ = in.ReadString('\n')
		close(line)
		_, _ = io.Copy(io.Discard, in)
		leave()
	}()
	return line
}
