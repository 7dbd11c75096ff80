package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ports returns the first of three ports in a row that are free.
func ports(t *testing.T) string {
	t.Helper()
	for p := 21000; p < 60000; p += 7 {
		free := 0
		for n := range 3 {
			if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p+n)); err == nil {
				_ = l.Close()
				free++
			}
		}
		if free == 3 {
			return fmt.Sprintf("127.0.0.1:%d", p)
		}
	}
	t.Fatal("no free ports")
	return ""
}

// get returns what a node serves, "" if it does not.
func get(url string) string {
	resp, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(b)
}

// TestObserved: all three nodes are ready and have figures, and a request is one trace.
func TestObserved(t *testing.T) {
	listen, traces := ports(t), filepath.Join(t.TempDir(), "traces.json")
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- run(ctx, traces, listen) }()
	late := time.After(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	await := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			select {
			case <-tick.C:
			case err := <-over:
				t.Fatalf("it ended: %v", err)
			case <-late:
				t.Fatalf("not within a minute: %s", what)
			}
		}
	}
	for n := range 3 {
		addr, err := plus(listen, n)
		if err != nil {
			t.Fatal(err)
		}
		await(addr+" is ready", func() bool { return strings.Contains(get("http://"+addr+"/readyz"), "[+] node ok") })
		await(addr+" lives", func() bool { return get("http://"+addr+"/livez") != "" })
		await(addr+" has figures", func() bool {
			return strings.Contains(get("http://"+addr+"/metrics"), `runrig_cluster_members{status="alive"} 3`)
		})
	}
	await("spans of all parts are written", func() bool {
		b, _ := os.ReadFile(traces)
		for _, name := range []string{"request stock", "process stock", "request price", "process price"} {
			if !bytes.Contains(b, []byte(`"Name":"`+name+`"`)) {
				return false
			}
		}
		return true
	})
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
}
