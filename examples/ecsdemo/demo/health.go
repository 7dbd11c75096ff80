package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/runrig-go/runrig/verticle"
)

// checkHealth asks the task that listens at this address on this machine. It is
// the container's health check: its image has no shell and no curl.
func checkHealth(ctx context.Context, listen string) error {
	resp, err := getLocal(ctx, listen, "/health")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", resp.Request.URL, resp.Status)
	}
	return nil
}

// getLocal asks who listens at this address on this machine, 4 s at most.
func getLocal(ctx context.Context, listen, path string) (*http.Response, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("-http %s: %w", listen, err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 4 * time.Second, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	return client.Do(req)
}

// checkOwnHealth is a verticle that does each second what ECS would do.
func checkOwnHealth(listen string) verticle.Verticle {
	return verticle.Func(func(_ context.Context, d *verticle.Deployment) error {
		d.Go(func(ctx context.Context) error {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return nil
				}
				if err := checkHealth(ctx, listen); err != nil && ctx.Err() == nil {
					slog.Warn("health check failed", "err", err)
				}
			}
		})
		return nil
	})
}
