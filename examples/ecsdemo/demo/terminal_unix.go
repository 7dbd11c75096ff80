//go:build linux || darwin

package demo

import (
	"os"
	"syscall"
	"unsafe"
)

// terminal returns the size of the terminal that the file is, if it is one.
func terminal(f *os.File) (columns, lines int, ok bool) {
	var size struct{ rows, cols, x, y uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	if errno != 0 || os.Getenv("TERM") == "dumb" {
		return 0, 0, false
	}
	if size.rows == 0 || size.cols == 0 { // it does not say
		return 80, 24, true
	}
	return int(size.cols), int(size.rows), true
}
