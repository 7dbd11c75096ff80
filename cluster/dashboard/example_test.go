package dashboard_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/dashboard"
	"github.com/runrig-go/runrig/discovery"
)

func ExampleNew() {
	node, err := cluster.Join(context.Background(), bus.New(), cluster.Config{
		Bind: "127.0.0.1:0", Discovery: discovery.Static(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	mux := http.NewServeMux()
	mux.Handle("/debug/runrig/", dashboard.New(node, dashboard.Options{}))
	server := httptest.NewServer(mux) // at 127.0.0.1: people on this host may look
	defer server.Close()
	resp, err := http.Get(server.URL + "/debug/runrig/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, resp.Header.Get("Content-Type"))
	// Output: 200 OK text/html; charset=utf-8
}
