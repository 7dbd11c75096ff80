package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/runrig-go/runrig/cluster/dashboard"
	"github.com/runrig-go/runrig/cluster/inspect"
)

// Where ui serves its page, if nothing else is asked for: where that is taken, at any
// free port.
const uiAddr = "127.0.0.1:7980"

func uiFlags(c *call) {
	c.watch.on = true
	c.set.StringVar(&c.page, "listen", "", "`address` of this host where the page is, host:port (default "+uiAddr+", or any free port)")
	c.set.BoolVar(&c.try, "try", false, "the page may send messages, too, and hear those of an address")
}

// ui serves the dashboard on this host until it is interrupted.
func ui(ctx context.Context, c *call) error {
	l, err := c.listenHere()
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	at := &uiNodes{call: c}
	client, err := at.dial(ctx) // so that what is wrong is said here
	if err != nil {
		return err
	}
	client.Close()
	fmt.Fprintf(c.out, "http://%s/ shows the cluster; Ctrl-C ends it\n", l.Addr())
	s := &http.Server{
		Handler:           dashboard.Attach(at.dial, dashboard.Options{Try: c.try}),
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // pages that are open end with it
	}
	var ending sync.WaitGroup
	defer ending.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ending.Go(func() { shutdown(ctx, s) })
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// shutdown ends a server when ctx has ended, and gives its pages a second.
func shutdown(ctx context.Context, s *http.Server) {
	<-ctx.Done()
	end, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.Shutdown(end) != nil {
		_ = s.Close()
	}
}

// listenHere listens on the loopback, as whoever reaches the page may look.
func (c *call) listenHere() (net.Listener, error) {
	if c.page == "" {
		l, err := net.Listen("tcp", uiAddr)
		if err != nil {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
		return l, err
	}
	host, _, err := net.SplitHostPort(c.page)
	if err != nil {
		return nil, fmt.Errorf("%w: -listen %s is not host:port", errUsage, show(c.page))
	}
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%w: -listen %s is not an address of the loopback, and whoever reaches the page may look; from elsewhere, forward a port (ssh -L)", errUsage, show(c.page))
	}
	return net.Listen("tcp", c.page)
}

// uiNodes are the nodes that may tell: those of -node first, and then the members that
// one of them knew.
type uiNodes struct {
	*call

	mu    sync.Mutex
	known []string
}

// dial returns a client of a node that answers.
func (u *uiNodes) dial(ctx context.Context) (*inspect.Client, error) {
	u.mu.Lock()
	known := u.known
	u.mu.Unlock()
	client, err := u.attach(ctx)
	for _, addr := range known {
		if err == nil || ctx.Err() != nil {
			break
		}
		other := *u.call
		other.nodes = addr
		if c, again := other.attach(ctx); again == nil {
			client, err = c, nil
		}
	}
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if n, err := client.Node(ctx, inspect.Query{Addresses: -1, Links: -1, Verticles: -1}); err == nil {
		u.remember(n.Members)
	}
	return client, nil
}

// mostKnown is how many members are tried when no node of -node answers.
const mostKnown = 16

func (u *uiNodes) remember(members []inspect.Member) {
	var known []string
	for _, m := range members {
		if m.Status == "alive" && len(known) < mostKnown {
			known = append(known, m.Address)
		}
	}
	u.mu.Lock()
	u.known = known
	u.mu.Unlock()
}
