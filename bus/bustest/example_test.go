package bustest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/runrig-go/runrig/bus/bustest"
)

func ExamplePipe() {
	a, b := bustest.Pipe(bustest.WithBuffer(64<<10), bustest.WithAddrs(
		&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7946},
		&net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 7946},
	))
	defer b.Close()
	fmt.Fprint(a, "hello from ", b.RemoteAddr())
	a.Close()
	got, err := io.ReadAll(b)
	fmt.Println(string(got), err)
	// Output: hello from 10.0.0.1:7946 <nil>
}

func ExampleConn_CloseWrite() {
	a, b := bustest.Pipe()
	defer a.Close()
	defer b.Close()
	fmt.Fprint(a, "that is all")
	a.CloseWrite()
	question, _ := io.ReadAll(b)
	fmt.Fprintf(b, "%q heard", question)
	b.CloseWrite()
	answer, _ := io.ReadAll(a)
	fmt.Println(string(answer))
	// Output: "that is all" heard
}

func ExampleConn_Close() {
	a, b := bustest.Pipe()
	fmt.Fprint(a, "this a will lose")
	fmt.Fprint(b, "because it never read that")
	a.Close()
	_, err := io.ReadAll(b)
	fmt.Println(errors.Is(err, syscall.ECONNRESET))
	b.Close()
	// Output: true
}

func ExampleConn_Stall() {
	a, b := bustest.Pipe()
	defer a.Close()
	defer b.Close()
	a.Stall()
	fmt.Fprint(a, "held back")
	b.SetReadDeadline(time.Now().Add(time.Millisecond))
	buf := make([]byte, 64)
	_, err := b.Read(buf)
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))

	a.Resume()
	b.SetReadDeadline(time.Time{})
	n, _ := b.Read(buf)
	fmt.Println(string(buf[:n]))
	// Output:
	// true
	// held back
}

func ExampleConn_Cut() {
	a, b := bustest.Pipe()
	defer a.Close()
	defer b.Close()
	a.Cut()
	_, err := fmt.Fprint(a, "for nobody")
	fmt.Println(err)
	b.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err = b.Read(make([]byte, 64))
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))
	// Output:
	// <nil>
	// true
}

func ExampleConn_SetDelay() {
	a, b := bustest.Pipe()
	defer a.Close()
	defer b.Close()
	a.SetDelay(func() time.Duration { return 20 * time.Millisecond })
	start := time.Now()
	fmt.Fprint(a, "late")
	b.Read(make([]byte, 64))
	fmt.Println(time.Since(start) >= 20*time.Millisecond)
	// Output: true
}

func ExampleConn_Reset() {
	a, b := bustest.Pipe()
	a.Reset()
	for _, c := range []*bustest.Conn{a, b} {
		_, err := c.Read(make([]byte, 1))
		fmt.Println(errors.Is(err, syscall.ECONNRESET), c.Close())
	}
	// Output:
	// true <nil>
	// true <nil>
}
