package bus

import (
	"fmt"
	"log/slog"
	"time"
)

// Option configures a bus; see [New].
type Option interface{ apply(*config) }

type config struct {
	log       *slog.Logger
	drain     time.Duration
	memory    int64
	bodyLimit int
	tell      func(Event)
	codecs    codecs
	inbound   []func(Handler) Handler
	outbound  []func(Caller) Caller
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithLogger sets where the bus logs; nil means nowhere. The default is
// [slog.Default] at the time of New.
func WithLogger(l *slog.Logger) Option {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return optionFunc(func(c *config) { c.log = l })
}

// WithDrainTimeout bounds [EventBus.Close]. The default is 20 s.
func WithDrainTimeout(d time.Duration) Option {
	return optionFunc(func(c *config) { c.drain = d })
}

// WithMemory sets the pool, in bytes, from which windows of all consumers of
// this node grow beyond their first 16 KiB. The default is 64 MiB.
func WithMemory(bytes int) Option {
	return optionFunc(func(c *config) { c.memory = int64(max(0, bytes)) })
}

// WithBodyLimit sets how large a body this node sends and takes, in bytes. The
// default is 16 MiB; the least is 64 KiB, the most 1 GiB, and others are taken
// for the nearest of them. A body over the limit of its receiver is ErrTooLarge
// too. Memory for twice the limit, or 64 MiB if that is more, is set apart for
// bodies over 64 KiB that are on their way here.
func WithBodyLimit(bytes int) Option {
	return optionFunc(func(c *config) { c.bodyLimit = min(max(bytes, chunked), 1<<30) })
}

// WithEvents has f called with each [Event] of the bus: one at a time, in the
// order in which they happened, on a goroutine of the bus's own, so that f needs
// no lock. Nothing waits for it but Close, for a second at most, so messages may be
// handled before f learns of what made them possible. f may call the bus; it
// should return soon, as later events wait: 4,096 of them, and 4 MiB of dead
// letters, beyond which they are counted as [EventsMissed]. A panic of f is logged.
// The last WithEvents holds; nil means that nobody wants to know.
func WithEvents(f func(Event)) Option {
	return optionFunc(func(c *config) { c.tell = f })
}

// CallOption modifies one Send, Publish, Request, Reply or Message.Request. An option that does
// not fit the verb is an error of the call.
type CallOption interface{ applyCall(*callOptions) }

// ConsumeOption modifies one Consume.
type ConsumeOption interface{ applyConsume(*consumeOptions) }

// callOptions collects the options of a call.
type callOptions struct {
	header     Header
	idempotent bool
	gossip     bool
	noWait     bool
	localOnly  bool
}

// The verbs, for options that do not fit them.
const (
	verbSend    = "Send"
	verbPublish = "Publish"
	verbRequest = "Request"
	verbReply   = "Reply"
	verbAsk     = "Message.Request"
)

// check says which option does not fit the verb.
func (o *callOptions) check(verb string) error {
	for _, c := range []struct {
		set   bool
		name  string
		verbs string
		fits  bool
	}{
		{o.idempotent, "Idempotent", "Request", verb == verbRequest},
		{o.gossip, "Gossip", "Publish", verb == verbPublish},
		{o.noWait, "NoWait", "Publish", verb == verbPublish},
		{o.localOnly, "LocalOnly", "Send, Publish and Request", verb != verbReply && verb != verbAsk},
		{o.gossip && o.localOnly, "Gossip with LocalOnly", "nothing", false},
	} {
		if c.set && !c.fits {
			return fmt.Errorf("bus: option %s does not fit %s; it is for %s", c.name, verb, c.verbs)
		}
	}
	return nil
}

func collect(verb string, opts []CallOption) (*callOptions, error) {
	o := new(callOptions)
	for _, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("bus: nil option of %s", verb)
		}
		opt.applyCall(o)
	}
	return o, o.check(verb)
}

type callOption func(*callOptions)

func (f callOption) applyCall(o *callOptions) { f(o) }

// WithHeader adds a header to a message or reply. It may be given several
// times, with the same key too.
func WithHeader(key, value string) CallOption {
	return callOption(func(o *callOptions) {
		if o.header == nil {
			o.header = Header{}
		}
		o.header.Add(key, value)
	})
}

// Idempotent says that the request may be handled twice: when the link to its
// consumer's node is lost, it goes to another consumer, until its deadline.
func Idempotent() CallOption { return callOption(func(o *callOptions) { o.idempotent = true }) }

// Gossip publishes over the gossip lane; see the package documentation for
// what it is good for and its limits. On a bus that is not clustered the
// message reaches the local consumers.
func Gossip() CallOption { return callOption(func(o *callOptions) { o.gossip = true }) }

// NoWait makes Publish skip a consumer without room at once. Without it Publish
// waits for one, for up to 100 ms once per stall.
func NoWait() CallOption { return callOption(func(o *callOptions) { o.noWait = true }) }

// LocalOption is an option of calls and of consumers.
type LocalOption struct{}

func (LocalOption) applyCall(o *callOptions)       { o.localOnly = true }
func (LocalOption) applyConsume(o *consumeOptions) { o.localOnly = true }

// LocalOnly keeps a message on this node, or a consumer unknown to others.
func LocalOnly() LocalOption { return LocalOption{} }

type consumeOptions struct {
	window      int64
	concurrency int
	localOnly   bool
}

type consumeOption func(*consumeOptions)

func (f consumeOption) applyConsume(o *consumeOptions) { f(o) }

// WithWindow bounds how many bytes each node that sends to the consumer may have
// unsettled there: sent, but not yet handled. A message counts its body and
// headers plus 128 bytes, and may start while any of the window is left. A
// window begins with 16 KiB and is doubled when its sender had to wait, as far as
// the node's pool has room ([WithMemory]). The default is 1 MiB; the least is
// 1 KiB, the most 64 MiB.
func WithWindow(bytes int) ConsumeOption {
	return consumeOption(func(o *consumeOptions) { o.window = int64(bytes) })
}

// ConcurrencyOption is how many messages a consumer handles at once.
type ConcurrencyOption int

func (n ConcurrencyOption) applyConsume(o *consumeOptions) { o.concurrency = int(n) }

// WithConcurrency lets the consumer handle up to n messages at once; the default
// is 1. Their order is then that in which they are started. In a scope, a
// consumer with n over 1 takes no turn: its handlers run beside the others, and
// take the turn by [EventBus.Do] where they need it.
func WithConcurrency(n int) ConcurrencyOption { return ConcurrencyOption(n) }

func (o *consumeOptions) check() error {
	if o.window < 1<<10 || o.window > 64<<20 {
		return fmt.Errorf("bus: WithWindow of %d bytes; it must be from 1 KiB to 64 MiB", o.window)
	}
	if o.concurrency < 1 {
		return fmt.Errorf("bus: WithConcurrency of %d; it must be at least 1", o.concurrency)
	}
	return nil
}
