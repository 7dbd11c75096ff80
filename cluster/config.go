package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/runrig-go/runrig/cluster/internal/guard"
	"github.com/runrig-go/runrig/cluster/internal/wire"
	"github.com/runrig-go/runrig/discovery"
)

// Defaults of Config.
const (
	DefaultCluster = "runrig"
	DefaultPort    = 7946 // TCP and UDP
)

// lastPort is the last that is tried on the loopback when Bind is empty.
const lastPort = 7955

// askTimeout bounds one question to discovery.
const askTimeout = 10 * time.Second

// Config says how a node takes part in a cluster. Its zero value makes a node on
// the loopback that knows nobody and waits to be found.
type Config struct {
	// Name is this node's name for humans: letters, digits, dots and dashes, at
	// most 111 bytes. It need not be unique: the boot id behind it is. The
	// default is the name that Discovery tells, else the host's.
	Name string

	// Cluster is the name of the cluster, at most 64 bytes; nodes of another
	// name are refused. The default is "runrig".
	Cluster string

	// Bind is the "IP:port" to listen at, both TCP and UDP; an empty IP means
	// all addresses, port 0 a free port. A link-local IPv6 address needs its
	// zone, "[fe80::1%eth0]:7946", in which the others are looked for, too. The default is ":7946" with Secrets or
	// Insecure; without either it is the loopback, 127.0.0.1:7946, or the next
	// free port up to 7955.
	Bind string

	// Advertise is the "IP" or "IP:port" at which others reach this node, if
	// that is not where it listens. The default is the address that Discovery
	// tells, else the one bound, else the one that the default route uses, of
	// IPv4 if there is one. It must be of the same kind as Bind: a node that is
	// bound to a loopback or link-local address advertises it, and no other does.
	Advertise string

	// Discovery says where other nodes may be; it is asked for as long as the
	// node lives. If it is also a [discovery.Identifier], it gives the defaults
	// of Name and Advertise, and more Tags; a [discovery.Registrar] is told where
	// this node is, a [discovery.Watcher] has it ask at once, and an io.Closer is
	// closed when the node is down. Each address should lead to one
	// node, not to several in turn. A panic of it is an answer that failed. Nil
	// means that nobody is asked: the node waits for others to come.
	Discovery discovery.Provider

	// Tags are facts about this node that others see, such as a zone. Keys must
	// not begin with an underscore; there may be 64, and keys and values
	// together may have about 450 bytes. The map is copied. Everybody in the
	// cluster can read them.
	Tags map[string]string

	// Secrets are shared by the nodes of the cluster: with them all streams are
	// mutual TLS 1.3 and all packets encrypted, and nobody else gets in.
	Secrets Secrets

	// Insecure allows a node without Secrets at an address that others can
	// reach. Whoever reaches it can then do anything to the cluster.
	Insecure bool

	// TLS replaces the identity that Secrets give to streams by certificates of
	// an authority of your own, which RootCAs names, and ClientCAs where it is
	// another one; both ends verify. It needs Secrets all the
	// same, which encrypt packets. ServerName, if empty, is the IP address
	// dialled. The version is 1.3 at least and the protocols are set by this
	// package. A function of it that panics fails the handshake, and is logged.
	TLS *tls.Config

	// Admin makes the handler of HTTP requests that come on the node's own port
	// from somebody who looks at the node and its cluster, see [DialAdmin]: that of
	// package inspect, as a rule. Who asks must hold a secret, as a node does; a node
	// without Secrets answers only its own host. Join calls Admin once, before the
	// others are found. It must not wait for the node, of which all else works. At
	// most 64 such streams are open at once, and an answer has a minute, unless its
	// handler sets another time (http.ResponseController). Without Admin none is taken; so it is,
	// and in the log, where Admin panics or returns nil.
	Admin func(*Node) http.Handler

	// Logger is where the node logs. The default is [slog.Default] at the time
	// of Join. A line at which its handler panics is lost. Of news of one kind,
	// members that join, fail or leave, say, the first eight in ten seconds have
	// a line each, and the rest of them one together: [Node.Events] tells all.
	Logger *slog.Logger

	// Network replaces the system's network in tests; see package clustertest.
	Network Network
}

// settings are a Config that has been checked and completed.
type settings struct {
	name      string
	cluster   string
	binds     []netip.AddrPort // the first that is free is used
	advertise netip.AddrPort   // invalid: the bound address; port 0: the bound port
	provider  discovery.Provider
	tags      map[string]string
	envelope  *envelope
	tls       *tlsSetup // nil: plain text
	log       *slog.Logger
	network   Network
	admin     func(*Node) http.Handler // nil: none
	hostname  func() (string, error)
}

// invalid makes the error of a setting.
func invalid(field, format string, args ...any) error {
	return fmt.Errorf("cluster: Config.%s %w", field, fmt.Errorf(format, args...))
}

// settle checks a Config and fills in defaults. It asks the provider who this
// node is, if it knows, until ctx ends or askTimeout.
func (c Config) settle(ctx context.Context) (*settings, error) {
	s := &settings{
		cluster:  orElse(c.Cluster, DefaultCluster),
		provider: c.Discovery,
		log:      guard.Logger(c.Logger),
		network:  c.Network,
		admin:    c.Admin,
		hostname: os.Hostname,
	}
	if s.network == nil {
		s.network = systemNetwork{}
	}
	if len(s.cluster) > maxClusterName || !utf8.ValidString(s.cluster) {
		return nil, invalid("Cluster", "is %q; it must be UTF-8 text of at most %d bytes", s.cluster, maxClusterName)
	}
	if err := c.secure(s); err != nil {
		return nil, err
	}
	if err := c.settleBind(s); err != nil {
		return nil, err
	}
	if _, isFunc := c.Discovery.(discovery.ProviderFunc); c.Discovery != nil && !isFunc && guard.IsNil(c.Discovery) {
		return nil, invalid("Discovery", "is a nil %T; was there an error when it was made?", c.Discovery)
	}
	self, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.settleName(s, self); err != nil {
		return nil, err
	}
	if err := c.settleAdvertise(s, self); err != nil {
		return nil, err
	}
	return s, c.settleTags(s, self)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// secure sets up keys and TLS.
func (c Config) secure(s *settings) error {
	if c.TLS != nil && !c.Secrets.given() {
		return invalid("TLS", "is set without Config.Secrets, which packets are encrypted with; set both")
	}
	all, err := c.Secrets.derive()
	if err != nil {
		return err
	}
	if s.envelope, err = newEnvelope(s.cluster, all); err != nil {
		return invalid("Secrets", "give no keys: %w", err)
	}
	switch {
	case c.TLS != nil:
		s.tls, err = ownTLS(c.TLS)
	case c.Secrets.given():
		s.tls, err = secretTLS(all)
	}
	if s.tls != nil && c.Admin != nil {
		s.tls.server.NextProtos = append(s.tls.server.NextProtos, alpnAdmin)
	}
	return err
}

// settleBind finds the addresses to listen at.
func (c Config) settleBind(s *settings) error {
	open := c.Secrets.given() || c.Insecure
	switch {
	case c.Bind != "":
		bind, err := parseBind(c.Bind)
		if err != nil {
			return err
		}
		if !open && !bind.Addr().IsLoopback() {
			return invalid("Bind", "is %q, which others can reach, but there is neither Config.Secrets nor Config.Insecure: set Secrets, or bind a loopback address", c.Bind)
		}
		s.binds = []netip.AddrPort{bind}
	case open:
		s.binds = []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), DefaultPort)}
	default:
		for port := uint16(DefaultPort); port <= lastPort; port++ {
			s.binds = append(s.binds, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))
		}
	}
	return nil
}

func parseBind(bind string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return netip.AddrPort{}, invalid("Bind", "is %q, not \"IP:port\": %w", bind, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, invalid("Bind", "is %q: port %q is not a number from 0 to 65535", bind, port)
	}
	ip := netip.IPv4Unspecified()
	switch host {
	case "":
	case "localhost":
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default:
		if ip, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, invalid("Bind", "is %q: host %q is not an IP address", bind, host)
		}
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), nil
}

// self asks the provider who this node is. Without its answer a node could not
// know where it is; a Config that says all needs none.
func (c Config) self(ctx context.Context) (discovery.Self, error) {
	id, ok := c.Discovery.(discovery.Identifier)
	if !ok {
		return discovery.Self{}, nil
	}
	ctx, cancel := context.WithTimeout(discovery.WithCluster(ctx, orElse(c.Cluster, DefaultCluster)), askTimeout)
	defer cancel()
	self, err := askSelf(ctx, id)
	if err != nil && (c.Name == "" || c.Advertise == "") {
		return self, fmt.Errorf("cluster: Config.Discovery cannot tell this node's place (set Config.Name and Config.Advertise to do without): %w", err)
	}
	return self, nil
}

// askSelf asks id, and does not wait for it beyond ctx.
func askSelf(ctx context.Context, id discovery.Identifier) (discovery.Self, error) {
	type answer struct {
		self discovery.Self
		err  error
	}
	done := make(chan answer, 1)
	go func() { // ends when Self returns, as it must soon after ctx; one that does not holds up nobody
		var a answer
		a.err = guard.Call("Self", func() (err error) {
			a.self, err = id.Self(ctx)
			return err
		})
		done <- a
	}()
	select {
	case a := <-done:
		return a.self, a.err
	case <-ctx.Done():
		return discovery.Self{}, fmt.Errorf("Self has not answered: %w", context.Cause(ctx))
	}
}

// broadcast leads to all hosts of a network, or none.
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// maxClusterName bounds a cluster's name, in bytes.
const maxClusterName = 64

// nameRule is serf's rule for names. 17 bytes are for the boot id.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9.-]{1,111}$`)

func (c Config) settleName(s *settings, self discovery.Self) error {
	s.name = orElse(c.Name, self.Name)
	if s.name == "" {
		host, err := s.hostname()
		if err != nil {
			return invalid("Name", "is empty and the host's name is not known; set it: %w", err)
		}
		if host == "" {
			return invalid("Name", "is empty and the host has no name; set it")
		}
		s.name = regexp.MustCompile(`[^A-Za-z0-9.-]`).ReplaceAllString(host, "-")
		s.name = s.name[:min(len(s.name), 111)]
	}
	if !nameRule.MatchString(s.name) {
		return invalid("Name", "is %q; a name has 1 to 111 letters, digits, dots and dashes", s.name)
	}
	return nil
}

// settleAdvertise finds what to advertise, as far as that is known before the
// node is bound.
func (c Config) settleAdvertise(s *settings, self discovery.Self) error {
	addr, field := c.Advertise, "Advertise"
	if addr == "" {
		addr, field = self.Addr, "Discovery (Self.Addr)"
	}
	if addr == "" {
		return nil
	}
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		ip, ipErr := netip.ParseAddr(strings.Trim(addr, "[]"))
		if ipErr != nil {
			return invalid(field, "is %q, which is neither \"IP\" nor \"IP:port\"", addr)
		}
		ap = netip.AddrPortFrom(ip, 0)
	} else if ap.Port() == 0 {
		return invalid(field, "is %q; nobody can reach port 0", addr)
	}
	s.advertise = netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	if err := reaches(s.advertise.Addr(), s.binds[0].Addr()); err != nil {
		if c.Bind == "" && s.binds[0].Addr().IsLoopback() {
			err = fmt.Errorf("%w (it is Bind's default as there are neither Secrets nor Insecure)", err)
		}
		return invalid(field, "is %q: %w", addr, err)
	}
	return nil
}

// reaches says why others could not reach a node at the address that it
// advertises, if it is bound to bind. The rules about a kind of address hold in
// both directions.
func reaches(advertise, bind netip.Addr) error {
	bind = bind.WithZone("")
	for _, rule := range []struct {
		broken bool
		why    string
	}{
		{advertise.IsUnspecified(), "the address is unspecified; give the one at which others reach this node"},
		{advertise.IsMulticast(), "it is a multicast address, which leads to many nodes or none"},
		{advertise == broadcast, "it is the broadcast address, which leads to many nodes or none"},
		{advertise.IsLoopback() && !bind.IsLoopback(),
			"it is a loopback address, but the node is bound to " + bind.String() + ": others could not reach it"},
		{!advertise.IsLoopback() && bind.IsLoopback(),
			"the node is bound to " + bind.String() + ", a loopback address, where others could not reach it; bind an address that they reach"},
		{advertise.IsLinkLocalUnicast() && advertise != bind,
			"it is a link-local address, which containers often have besides the one that others reach, but the node is bound to " + bind.String() +
				"; give another one, or bind this one, too, if all nodes are on one link"},
		{!advertise.IsLinkLocalUnicast() && bind.IsLinkLocalUnicast(),
			"the node is bound to " + bind.String() + ", a link-local address, from where it reaches nobody beyond the link; bind another one, or advertise this one, too"},
	} {
		if rule.broken {
			return errors.New(rule.why)
		}
	}
	return nil
}

// advertised is the address to advertise, now that the node is bound.
func (s *settings) advertised(bound netip.AddrPort) (netip.AddrPort, error) {
	if ip := s.advertise.Addr(); ip.IsValid() {
		if s.advertise.Port() != 0 {
			return s.advertise, nil
		}
		return netip.AddrPortFrom(ip, bound.Port()), nil
	}
	if !bound.Addr().IsUnspecified() {
		return netip.AddrPortFrom(bound.Addr().WithZone(""), bound.Port()), nil // a zone is this host's own affair
	}
	ip, err := s.network.Route()
	if err == nil {
		err = reaches(ip, bound.Addr())
	}
	if err != nil {
		return netip.AddrPort{}, invalid("Advertise", "is empty and no address was found to advertise; set it: %w", err)
	}
	return netip.AddrPortFrom(ip, bound.Port()), nil
}

func (c Config) settleTags(s *settings, self discovery.Self) error {
	s.tags = map[string]string{}
	maps.Copy(s.tags, self.Tags)
	maps.Copy(s.tags, c.Tags)
	for k, v := range s.tags {
		if k == "" || k[0] == '_' {
			return invalid("Tags", "have the key %q; keys must not be empty or begin with an underscore", k)
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return invalid("Tags", "have text that is not UTF-8 at key %q", k)
		}
	}
	if len(s.tags) > wire.MaxTags {
		return invalid("Tags", "are %d; the limit is %d", len(s.tags), wire.MaxTags)
	}
	if n := tagBytes(gossipTags(1, s.tags)); n > maxTagBytes {
		return invalid("Tags", "take %d bytes with the node's own; the limit is %d", n, maxTagBytes)
	}
	return nil
}

// listen binds the first address that is free.
func (s *settings) listen(ctx context.Context) (net.Listener, PacketConn, error) {
	var errs []error
	for _, bind := range s.binds {
		l, p, err := s.network.Listen(ctx, bind)
		if err == nil {
			return l, p, nil
		}
		errs = append(errs, err)
	}
	return nil, nil, fmt.Errorf("cluster: cannot listen at Config.Bind (is the port in use?): %w", errors.Join(errs...))
}
