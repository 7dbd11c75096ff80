// Chat is a page on which people talk, whichever node their browser is at: it speaks to
// the bus by Vert.x's JavaScript client and package bridge. Run it, and in another
// terminal run it with the address that it prints; then open both pages. When a node is
// stopped its pages go on at another one.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/discovery"
)

// The page, with the clients that it needs: vertx-eventbus.js is npm's
// @vertx/eventbus-bridge-client.js 1.0.0 (Apache-2.0), sockjs.min.js is sockjs-client
// 1.6.1 (MIT, see its licence beside it).
//
//go:embed page
var files embed.FS

// webTag is the tag by which a node tells where its page is.
const webTag = "chat"

func main() {
	web := flag.String("http", "127.0.0.1:8081", "where the page is served")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *web, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

// run is a node that serves the page at web, until ctx ends.
func run(ctx context.Context, web string, peers []string) error {
	l, err := net.Listen("tcp", web)
	if err != nil {
		return err
	}
	url := "http://" + l.Addr().String()
	eb := bus.New()
	node, err := cluster.Join(ctx, eb, cluster.Config{Discovery: discovery.Static(peers...), Tags: map[string]string{webTag: url}})
	if err != nil {
		return err
	}
	defer func() { _ = node.Close() }() // logs what it could not do
	b, err := bridge.New(eb, bridge.Config{
		Rules:     []bridge.Rule{{Direction: bridge.In | bridge.Out, Prefix: "chat.", PublishedOnly: true}}, // all hear what is said, and nobody takes turns
		Authorize: sign,
		Origins:   []string{"127.0.0.1:*", "localhost:*"}, // the pages of the other nodes
	})
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // before the node: it returns no error
	fmt.Printf("open %s, and run: go run ./examples/chat -http 127.0.0.1:0 %s\n", url, node.Self().Addr)
	return serve(ctx, l, handler(node, b))
}

// name is the key of a client's value.
type name struct{}

// sign says who has sent a message: a client gets a name when it connects, and cannot
// say that it is another one.
func sign(_ context.Context, c *bridge.Client, e *bridge.Event) error {
	switch e.Kind {
	case bridge.Connect:
		_, port, _ := net.SplitHostPort(c.Remote.String())
		c.Set(name{}, "guest "+port)
	case bridge.Publish, bridge.Send:
		var said struct {
			From string `json:"from"`
			Text string `json:"text"`
		}
		if err := json.Unmarshal(e.Body, &said); err != nil || said.Text == "" || len(said.Text) > 1000 {
			return errors.New("say 1 to 1,000 bytes of text")
		}
		said.From, _ = c.Value(name{}).(string)
		var err error
		e.Body, err = json.Marshal(said)
		return err
	}
	return nil
}

// handler serves the page, the bridge, and at /nodes where other nodes serve theirs.
func handler(node *cluster.Node, b *bridge.Bridge) http.Handler {
	page, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // it is embedded
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(page))
	mux.Handle("/eventbus/", http.StripPrefix("/eventbus", b))
	mux.HandleFunc("/nodes", func(w http.ResponseWriter, r *http.Request) {
		urls := []string{}
		for _, m := range node.Members() {
			if m.Linked() || m.Boot == node.Self().Boot {
				urls = append(urls, m.Tags[webTag])
			}
		}
		w.Header().Set("Access-Control-Allow-Origin", "*") // it is no secret
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(urls)
	})
	return mux
}

// serve serves until ctx ends.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // WebSockets are the bridge's
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
