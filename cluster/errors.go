package cluster

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/runrig-go/runrig/cluster/internal/wire"
)

// Reasons for which a node refuses another; they are found in a [RefusedError]
// by [errors.Is]. The first three are for somebody to mend; the others belong to
// the life of a healthy cluster, and nothing is to be done.
var (
	// ErrSecret says that the two nodes hold no common secret, or that only one
	// of them has any, or that a certificate of the user's own authority was
	// not accepted. Give both the same secret: see [Secrets] for how to change
	// it without a pause.
	ErrSecret = errors.New("cluster: no common secret")

	// ErrCluster says that the other node belongs to a cluster of another name.
	// Give both the same Config.Cluster, or have discovery not name one to the
	// other.
	ErrCluster = errors.New("cluster: another cluster's name")

	// ErrVersion says that the two nodes speak no common protocol version. Build
	// both with releases that are closer to each other.
	ErrVersion = errors.New("cluster: no common protocol version")

	// ErrSelf says that a node reached itself, as discovery may name it too.
	ErrSelf = errors.New("cluster: the node itself")

	// ErrStale says that a dial was overtaken by a newer one, or meant a node
	// that has been replaced at its address.
	ErrStale = errors.New("cluster: stale dial")

	// ErrDuplicate says that two nodes dialled each other at once and that the
	// other dial holds.
	ErrDuplicate = errors.New("cluster: crossing dial")

	// ErrLeaving says that the other node is leaving; it takes no new link.
	ErrLeaving = errors.New("cluster: node is leaving")
)

// ErrAddress says that two nodes that live advertise the same address, so that
// others reach only one of them. It is in a [Conflict]. Set
// Config.Advertise of each to an address of its own.
var ErrAddress = errors.New("cluster: two nodes at one address")

// ErrUnreached says that others do not reach this node at the address that it
// advertises, though it is linked with them: its own dials pass. It is in an
// [Unreached]. Set Config.Advertise to an address at which the
// others reach it, or open the port for TCP and UDP.
var ErrUnreached = errors.New("cluster: others do not reach this node")

// ErrEnded says that the node ended although nobody closed it. The bus goes on,
// alone, and cannot join again: end the process, and have it started anew.
var ErrEnded = errors.New("cluster: node ended by itself")

// A RefusedError says that one of two nodes refused the other. It matches its
// Reason by [errors.Is].
type RefusedError struct {
	Reason error  // ErrSecret, ErrCluster, ErrVersion, ErrSelf, ErrStale, ErrDuplicate or ErrLeaving
	Peer   string // the other node: name and boot id if it told them, else its address
	ByPeer bool   // the other node refused this one
	Detail string // what was seen, if that helps
}

// Error says who refused whom, why, and what was seen.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("%v: refused %s", e.Reason, e.Peer)
	if e.ByPeer {
		text = fmt.Sprintf("%v: refused by %s", e.Reason, e.Peer)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.Reason }

// reasons maps the refusals of the wire.
var reasons = map[wire.Verdict]error{
	wire.Cluster:   ErrCluster,
	wire.Version:   ErrVersion,
	wire.Self:      ErrSelf,
	wire.Stale:     ErrStale,
	wire.Duplicate: ErrDuplicate,
	wire.Leaving:   ErrLeaving,
	wire.Secret:    ErrSecret,
}

// refusal makes the error of a verdict that is not OK. A verdict that this
// version does not know is a matter of versions.
func refusal(v wire.Verdict, peer string, byPeer bool, detail string) *RefusedError {
	reason := reasons[v]
	if reason == nil {
		reason = ErrVersion
	}
	return &RefusedError{Reason: reason, Peer: peer, ByPeer: byPeer, Detail: detail}
}

// misconfigured reports whether a refusal is for a human to mend: it will not
// pass by itself.
func misconfigured(err error) bool {
	return errors.Is(err, ErrSecret) || errors.Is(err, ErrCluster) || errors.Is(err, ErrVersion)
}

// maxDetail bounds what of another's text an error tells, in bytes.
const maxDetail = 256

// printable makes one line of text that may be another's: a certificate's names
// are in errors of TLS.
func printable(text string) string {
	clean := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if len(clean) > maxDetail {
		clean = strings.ToValidUTF8(clean[:maxDetail], "") + "…"
	}
	return clean
}
