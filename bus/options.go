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
	tell      []func(Event)
	codecs    codecs
	inbound   []func(Handler) Handler
	outbound  []func(Caller) Caller
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithLogger sets where the bus logs; nil means nowhere. The default is
// [slog.Default] at the time of New. A line at which its handler panics is lost.
func WithLogger(l *slog.Logger) Option {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return optionFunc(func(c *config) { c.log = l })
}

// WithDrainTimeout bounds [EventBus.Close]. The default is 20 s; 0 means that Close
// waits for nothing, and a negative d panics.
func WithDrainTimeout(d time.Duration) Option {
	if d < 0 {
		panic(fmt.Sprintf("bus: WithDrainTimeout(%v): it must not be negative", d))
	}
	return optionFunc(func(c *config) { c.drain = d })
}

// WithMemory sets the pool, in bytes, from which windows of all consumers of
// this node grow beyond their first 16 KiB. The default is 64 MiB; with 0 none
// grows, and a negative number panics. Up to a quarter of so much again is kept
// of bodies that nobody holds any more, for those to come (see Memory in
// LIMITS.md).
func WithMemory(bytes int) Option {
	if bytes < 0 {
		panic(fmt.Sprintf("bus: WithMemory(%d): it must not be negative", bytes))
	}
	return optionFunc(func(c *config) { c.memory = int64(bytes) })
}

// WithBodyLimit sets how large a body this node sends and takes, in bytes. The
// default is 16 MiB; the least is 64 KiB, the most 1 GiB, and others are taken
// for the nearest of them. A body over the limit of its receiver is ErrTooLarge
// too. Memory for four times the limit, or 64 MiB if that is more, is set apart
// for bodies over 64 KiB that are on their way here. No peer can take all of it:
// one whose line is slow holds about as much as it has sent.
func WithBodyLimit(bytes int) Option {
	return optionFunc(func(c *config) { c.bodyLimit = min(max(bytes, chunked), 1<<30) })
}

// WithEvents has f called with each [Event] of the bus: one at a time, in the
// order in which they happened, on a goroutine of the bus's own, so that f needs
// no lock. Nothing waits for it but Close, for a second at most, so messages may be
// handled before f learns of what made them possible. f may call the bus; it
// should return soon, as later events wait: 4,096 of them, and 4 MiB of dead
// letters, headers included, beyond which they are counted as [EventsMissed]. A
// panic of f is logged. WithEvents may be given several times: each function is
// called with each event, in the order of the options. A nil one is left out.
func WithEvents(f func(Event)) Option {
	return optionFunc(func(c *config) {
		if f != nil {
			c.tell = append(c.tell, f)
		}
	})
}

// CallOption modifies one Send, Publish, Request, RequestAll, Reply or
// Message.Request. An option that does not fit the verb is an error of the call.
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
	localFirst bool
	reserved   bool
	await      bool
	sameTag    *string
	byKey      *string
	within     *time.Duration
	placed     func()
	answer     *Header
}

// check says which option does not fit the verb.
func (o *callOptions) check(verb string) error {
	one := verb == VerbSend || verb == VerbRequest
	for _, c := range []struct {
		set   bool
		name  string
		verbs string
		fits  bool
	}{
		{o.idempotent, "Idempotent", "Request", verb == VerbRequest},
		{o.placed != nil, "Placed", "Request", verb == VerbRequest},
		{o.answer != nil, "ReplyHeader", "Request", verb == VerbRequest},
		{o.gossip, "Gossip", "Publish", verb == VerbPublish},
		{o.noWait, "NoWait", "Publish", verb == VerbPublish},
		{o.await, "Await", "Send and Request", one},
		{o.byKey != nil, "ByKey", "Send and Request", one},
		{o.localFirst, "LocalFirst", "Send and Request", one},
		{o.sameTag != nil, "SameTag", "Send and Request", one},
		{o.localOnly, "LocalOnly", "Send, Publish, Request and RequestAll", verb != VerbReply && verb != VerbAsk},
		{o.reserved, "Reserved", "Send, Publish, Request and RequestAll", verb != VerbReply && verb != VerbAsk},
		{o.within != nil, "Within", "Send, Publish, Request and RequestAll", verb != VerbReply && verb != VerbAsk},
	} {
		if c.set && !c.fits {
			return fmt.Errorf("bus: option %s does not fit %s; it is for %s", c.name, verb, c.verbs)
		}
	}
	switch {
	case o.gossip && o.localOnly:
		return fmt.Errorf("bus: options Gossip and LocalOnly of %s exclude each other", verb)
	case o.gossip && o.within != nil:
		return fmt.Errorf("bus: options Gossip and Within of %s exclude each other: a notice has 30 s", verb)
	case o.within != nil && *o.within <= 0:
		return fmt.Errorf("bus: option Within of %s with %v; it must be over 0", verb, *o.within)
	case o.byKey != nil && (o.localOnly || o.localFirst || o.sameTag != nil):
		return fmt.Errorf("bus: option ByKey of %s excludes LocalOnly, LocalFirst and SameTag: the key says which consumer", verb)
	case o.sameTag != nil && *o.sameTag == "":
		return fmt.Errorf("bus: option SameTag of %s with an empty tag; give the name of one", verb)
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
// times, with the same key too. An empty key is an error of the call.
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

// ReplyHeader has the headers of the reply stored in h, for the function [Request], which
// returns its body only. They are read-only, and h stays as it is where Request fails.
// A nil h does nothing.
func ReplyHeader(h *Header) CallOption { return callOption(func(o *callOptions) { o.answer = h }) }

// Placed has f called once when the request is on its way, in order behind what its
// sender sent before: what is sent from then on comes behind it. So several requests
// can be under way at a time, each on its goroutine, and keep their order. f runs in
// the goroutine of the call, before that waits for the reply; it must not block. It
// is not called where Request fails before.
func Placed(f func()) CallOption { return callOption(func(o *callOptions) { o.placed = f }) }

// Gossip publishes over the gossip lane: to the consumers of all nodes, without links,
// at a cost for the sender that does not grow with the cluster. It is for small, rare
// notices that may come late, twice in meaning, or not at all, in any order; LIMITS.md
// has its limits. On a bus that is not clustered the
// message reaches the local consumers.
func Gossip() CallOption { return callOption(func(o *callOptions) { o.gossip = true }) }

// Await makes Send and Request wait for a consumer, until their deadline, where they
// would return [ErrNoConsumer] at once: there is none, or the last one goes while the
// message waits for room. Those that wait keep their order. A consumer whose turn the
// caller holds is none to wait for: that is [ErrDeadlock] at once, as ever.
// [EventBus.Await] waits without a message.
func Await() CallOption { return callOption(func(o *callOptions) { o.await = true }) }

// Within ends the call after d, unless its context ends before: where ctx has no deadline,
// d takes the place of the 30 s. It is what [context.WithTimeout] at each call does, for a
// tenth of the cost, as one timer serves all calls of a link; the error matches
// [context.DeadlineExceeded] too. It is an error of the call if d is not over 0. An option
// that is made once may be given to any number of calls.
func Within(d time.Duration) CallOption { return callOption(func(o *callOptions) { o.within = &d }) }

// NoWait makes Publish skip a consumer without room at once. Without it Publish
// waits for one, for up to 100 ms once per stall.
func NoWait() CallOption { return callOption(func(o *callOptions) { o.noWait = true }) }

// LocalFirst sends to a consumer on this node, in turn, and to one on another
// node only if those of this one have no room, or there are none. With
// [SameTag] the nodes of the tag come before the others.
func LocalFirst() CallOption { return callOption(func(o *callOptions) { o.localFirst = true }) }

// SameTag sends to a consumer on a node whose tag has the value that this node's
// has, in turn, and to one on another node only if those have no room, or there
// are none. This node is one of them. If it has no such tag, or is not part of a
// cluster, all consumers take turns as ever. Tags are those of [Peer]: a zone, say.
// An empty one is an error of the call.
func SameTag(tag string) CallOption {
	return callOption(func(o *callOptions) { o.sameTag = &tag })
}

// ByKey sends what has the same key to the same consumer of the address, of all
// nodes, whoever sends it; the key may be any string. The message waits for that
// consumer and never goes elsewhere; messages for other consumers do not wait
// behind it. When a consumer comes or goes, only its share of the keys moves.
//
// A consumer handles the messages of one key one at a time, in the order in which they
// came, also with [WithConcurrency] several: then it handles those of other keys, and those
// without one, beside them. A message has its key's turn until its handler has returned,
// also where the answer is deferred ([Message.Defer]). Keys are compared by a hash of 56
// bits.
//
// When the consumer closes, or its node leaves, its keys are held until all
// that it sends back is here; then that goes to the next consumer, and what was
// sent meanwhile behind it. So the messages of one sender with one key are
// begun in the order sent. Order is not kept when a consumer comes and takes
// keys over from one that still has messages of theirs, nor when a link breaks:
// what was under way on it is lost, and the next consumer may begin while the
// old one is still at it. Nor does the next one wait for a handler that runs
// when its consumer closes: it goes on beside it.
//
// The owner of keys may remember what it knows of them: [Message.Epoch] tells when that may
// be out of date.
//
// A consumer is known by the boot id of its node and its number there. Consumers
// that are [LocalOnly] have none: they get no message by key, and without another
// consumer it is [ErrNoConsumer]. On a bus that is not part of a cluster all
// others have; when it becomes part of one, their keys are shared out anew,
// without a hold.
func ByKey(key string) CallOption { return callOption(func(o *callOptions) { o.byKey = &key }) }

type localOption struct{}

func (localOption) applyCall(o *callOptions)       { o.localOnly = true }
func (localOption) applyConsume(o *consumeOptions) { o.made |= madeLocal }

// LocalOnly keeps a message on this node, or a consumer unknown to others. It is an
// option of calls and of consumers.
func LocalOnly() interface {
	CallOption
	ConsumeOption
} {
	return localOption{}
}

type consumeOptions struct {
	window      int64
	concurrency int
	made        made
	reserved    bool
}

type consumeOption func(*consumeOptions)

func (f consumeOption) applyConsume(o *consumeOptions) { f(o) }

// WithWindow bounds how many bytes each node that sends to the consumer may have
// unsettled there: sent, but not yet handled. A message counts its body plus 128
// bytes, and one with headers about the memory that these take: their text, 384
// bytes, and 128 for each value. It may start while any of the window is left. A
// window begins with 16 KiB and is doubled when its sender had to wait and the
// consumer keeps up, as far as the node's pool has room ([WithMemory]). The default is 1 MiB and 64 KiB, so
// that a body of 1 MiB may start while another is handled; the least is 1 KiB,
// the most 64 MiB.
func WithWindow(bytes int) ConsumeOption {
	return consumeOption(func(o *consumeOptions) { o.window = int64(bytes) })
}

type concurrencyOption int

func (n concurrencyOption) applyConsume(o *consumeOptions) { o.concurrency = int(n) }

// Concurrency is for package verticle, which has to know which consumers take no
// turn.
func (n concurrencyOption) Concurrency() int { return int(n) }

// WithConcurrency lets the consumer handle up to n messages at once, of one key no more than
// one ([ByKey]); the default is 1, and more than 2,147,483,647 is as much. Those without a
// key are begun in the order in which they came. In a scope, a consumer with n over 1 takes
// no turn: its handlers run beside the others, and take the turn by [EventBus.Do] where they
// need it.
func WithConcurrency(n int) ConsumeOption { return concurrencyOption(n) }

// Deferring lets handlers of the consumer leave answers to others: see
// [Message.Defer]. It costs each message of the consumer a lock.
func Deferring() ConsumeOption {
	return consumeOption(func(o *consumeOptions) { o.made |= madeDeferring })
}

// PublishedOnly has the consumer hear what is published at its address, and take no turn
// of what is sent and requested there: that goes to the other consumers, and is
// [ErrNoConsumer] where there are none. [EventBus.Await] and the option [Await] wait for
// one of those, and [EventBus.RequestAll] asks them only.
func PublishedOnly() ConsumeOption {
	return consumeOption(func(o *consumeOptions) { o.made |= madePublished })
}

func (o *consumeOptions) check() error {
	if o.window < 1<<10 || o.window > 64<<20 {
		return fmt.Errorf("bus: WithWindow of %d bytes; it must be from 1 KiB to 64 MiB", o.window)
	}
	if o.concurrency < 1 {
		return fmt.Errorf("bus: WithConcurrency of %d; it must be at least 1", o.concurrency)
	}
	return nil
}
