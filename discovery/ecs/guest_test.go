package ecs_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/ecs"
	"github.com/runrig-go/runrig/discovery/ecs/ecstest"
)

type httpFunc func(*http.Request) (*http.Response, error)

func (f httpFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// hookedLog is a log handler that calls hook at each line.
type hookedLog struct {
	slog.Handler
	hook func()
}

func (hookedLog) Enabled(context.Context, slog.Level) bool { return true }

func (l hookedLog) Handle(context.Context, slog.Record) error { l.hook(); return nil }

// TestGuests: a function of the program's that does not return makes an error of the
// answer when it is asked as a node asks, and the next one is right.
func TestGuests(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(c *ecs.Config, hook func()){
		"Filter": func(c *ecs.Config, hook func()) {
			c.Filter = func(_, _ ecs.Task) bool { hook(); return true }
		},
		"HostIP": func(c *ecs.Config, hook func()) {
			c.HostIP = func(context.Context, string) (netip.Addr, error) { hook(); return netip.MustParseAddr("10.0.0.2"), nil }
		},
		"HTTP client": func(c *ecs.Config, hook func()) {
			c.AWS.HTTPClient = httpFunc(func(r *http.Request) (*http.Response, error) { hook(); return http.DefaultClient.Do(r) })
		},
		"credentials": func(c *ecs.Config, hook func()) {
			next := c.AWS.Credentials
			c.AWS.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
				hook()
				return next.Retrieve(ctx)
			})
		},
		"Logger": func(c *ecs.Config, hook func()) {
			c.Logger = slog.New(hookedLog{slog.DiscardHandler, hook})
		},
	} {
		for how, fail := range map[string]func(){"panicked": func() { panic("no") }, "ended its goroutine": runtime.Goexit} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				fake := newFake(t, ecstest.Config{})
				host := func(ip string) ecstest.TaskConfig {
					cfg := web(ip)
					cfg.NetworkMode = "host"
					return cfg
				}
				own := addTask(t, fake, host("10.0.0.1"))
				addTask(t, fake, host("10.0.0.2"))
				var broken atomic.Bool
				var called atomic.Int32
				p := discovery.Merge(newProvider(t, own, func(c *ecs.Config) {
					set(c, func() {
						called.Add(1)
						if broken.Load() {
							fail()
						}
					})
				}))
				broken.Store(true)
				_, err := p.Peers(t.Context())
				if logs := name == "Logger"; logs != (err == nil) || !logs && !strings.Contains(err.Error(), how) || called.Load() == 0 {
					t.Errorf("called %d times, error %v", called.Load(), err)
				}
				broken.Store(false)
				if list, err := p.Peers(t.Context()); err != nil || !slices.Equal(list, []string{"10.0.0.2:7946"}) {
					t.Errorf("then %q, %v", list, err)
				}
			})
		}
	}
}
