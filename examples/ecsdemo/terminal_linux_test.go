package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// On a terminal the rehearsal shows its table, and with -log its lines.
func TestTerminal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args      []string
		want, not string
	}{
		"table": {nil, "from others", "msg=received"},
		"lines": {[]string{"-log"}, "msg=received", "from others"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := onTerminal(t, exec.CommandContext(t.Context(), binary, append(c.args, "-tasks", "1", "-for", "1500ms")...))
			if !strings.Contains(out, c.want) || strings.Contains(out, c.not) || !strings.Contains(out, "all that was sent is accounted for") {
				t.Errorf("it shows\n%s", out)
			}
		})
	}
}

// onTerminal runs a program on a terminal of its own and returns what it shows.
func onTerminal(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	keyboard, screen := openTerminal(t)
	cmd.Env, cmd.Stdout = []string{"TERM=xterm"}, screen
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = screen.Close()
	var all strings.Builder
	for b := make([]byte, 4096); ; {
		n, err := keyboard.Read(b)
		all.Write(b[:n])
		if err != nil { // EIO, when nobody has the terminal any more
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return all.String()
}

// openTerminal opens both ends of a new terminal.
func openTerminal(t *testing.T) (keyboard, screen *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no terminals here:", err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	number, unlock := int32(0), int32(0)
	for request, arg := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, keyboard.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			t.Skip("there are no terminals here:", errno)
		}
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no terminals here:", err)
	}
	return keyboard, screen
}
