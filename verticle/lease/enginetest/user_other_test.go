//go:build !unix

package enginetest

import (
	"os/exec"
	"testing"
)

func asNobody(_ testing.TB, cmd *exec.Cmd, dir string) *exec.Cmd {
	cmd.Dir = dir
	return cmd
}
