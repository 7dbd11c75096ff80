package ecs

import (
	"context"
	"time"
)

// NewWithEnv is New with another environment than the process's own, for tests that run in parallel.
// The AWS SDK still reads the process's, so that cfg.AWS should be set.
func NewWithEnv(ctx context.Context, cfg Config, env map[string]string) (*Provider, error) {
	return newProvider(ctx, cfg, func(name string) string { return env[name] })
}

// SetSleep replaces how p waits before its first description of many tasks.
func (p *Provider) SetSleep(sleep func(context.Context, time.Duration) error) { p.sleep = sleep }
