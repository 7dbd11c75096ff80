//go:build !unix

package postgres_test

import (
	"os/exec"
	"testing"
)

func asNobody(_ *testing.T, cmd *exec.Cmd, dir string) *exec.Cmd {
	cmd.Dir = dir
	return cmd
}
