package cluster

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/runrig-go/runrig/discovery"
)

const otherSecret = "another secret of thirty-two bytes"

// enveloped returns the envelope of a cluster with the given secrets.
func enveloped(t testing.TB, cluster string, secrets ...string) *envelope {
	t.Helper()
	var s Secrets
	if len(secrets) > 0 {
		s = NewSecrets(secrets...)
	}
	all, err := s.derive()
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEnvelope(cluster, all)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// labeled is a message as memberlist hands it to its transport.
func labeled(e *envelope, message string) []byte {
	return append(bytes.Clone(e.label), message...)
}

const ping = "\x00\x82\xa5SeqNo\x01\xa4Node\xa1x"

// Who has a secret in common, be it the current one or not, reads the packet; and
// nobody else does, nor a cluster of another name.
func TestEnvelopeRotates(t *testing.T) {
	t.Parallel()
	from := enveloped(t, "c", testSecret, otherSecret)
	packet := from.seal(labeled(from, ping))
	for what, c := range map[string]struct {
		by  *envelope
		err error
	}{
		"the same":         {from, nil},
		"only the current": {enveloped(t, "c", testSecret), nil},
		"the other first":  {enveloped(t, "c", otherSecret, testSecret), nil},
		"only the other":   {enveloped(t, "c", otherSecret), errPacketSealed},
		"plain":            {enveloped(t, "c"), errPacket},
		"another cluster":  {enveloped(t, "d", testSecret), errPacketLabel},
	} {
		got, err := c.by.open(packet)
		if !errors.Is(err, c.err) || c.err == nil && !bytes.Equal(got, labeled(from, ping)) {
			t.Errorf("%s: %q, %v; want %v", what, got, err, c.err)
		}
	}
}

// A packet of which any bit is another is not opened, whatever it was: label,
// version, nonce, message or tag. One that is cut off is not, either.
func TestEnvelopeIsWhole(t *testing.T) {
	t.Parallel()
	e := enveloped(t, "runrig", testSecret)
	packet := e.seal(labeled(e, ping))
	if want := len(e.label) + len(ping) + e.overhead(); len(packet) != want {
		t.Errorf("%d bytes, want %d", len(packet), want)
	}
	for i := range packet {
		for _, flip := range []byte{1, 0x80, 0xff, packetVersion, packetVersion ^ 1} { // the version becomes 0 and 1, too
			other := bytes.Clone(packet)
			other[i] ^= flip
			if got, err := e.open(other); err == nil {
				t.Fatalf("byte %d changed by %#x: opened as %q", i, flip, got)
			}
		}
		if got, err := e.open(packet[:i]); err == nil {
			t.Fatalf("cut off after %d bytes: opened as %q", i, got)
		}
	}
	if _, err := e.open(append(packet, 0)); err == nil {
		t.Error("opened with a byte more")
	}
}

// What nodes send in packets passes; what none sends does not, by whomever it was
// sealed.
func TestCheckMessages(t *testing.T) {
	t.Parallel()
	for said, passes := range map[string]bool{
		ping:                                true,
		"\x0c\x49\xb0\x1e\x4b" + "\x02\x80": false, // a checksum that is wrong
		"\x0c\x00\x00\x00":                  false,
		"\x07\x02\x00\x02\x00\x03\x02\x80\x08\x03\x80": true, // an acknowledgement and an event
		"\x07\x00":                             true,
		"\x07\x02\x00\x02":                     false,
		"\x07\x01\x00\x09\x02\x80":             false,
		"\x07\x01\x00\x00":                     false,
		"\x07\x01\x00\x04\x07\x01\x00\x00":     false, // several in several
		"\x08\x00\x80":                         true,  // leaves
		"\x08\x02\x80":                         false, // a state
		"\x08\x04\x80":                         false, // a query
		"\x08\x09\x80":                         false, // a relay
		"\x07\x01\x00\x03\x08\x04\x80":         false,
		"\x09\x82\xa4Algo\x00\xa3Buf\xc4\x01x": false, // compressed
		"\x06\x80":                             false,
		"\x0a\x00":                             false,
		"\x0d\x80":                             false,
		"\xf4\x01c\x00\x80":                    false, // a label again
		"\x00":                                 false,
		"":                                     false,
	} {
		if err := checkMessages([]byte(said), newEventGate()); (err == nil) != passes {
			t.Errorf("%q: %v, want passes %v", said, err, passes)
		}
	}
	e := enveloped(t, "c")
	if _, err := e.open(labeled(e, "\x08\x03"+strings.Repeat("x", maxPacket))); !errors.Is(err, errPacketSize) {
		t.Errorf("a packet that is too large: %v", err)
	}
}

// Packets that a stranger saw and sends again with bytes changed are counted and
// dropped, and the nodes live on.
func TestForgedPackets(t *testing.T) {
	t.Parallel()
	wire := new(sniffer)
	a := started(t, Config{Network: wire, Secrets: NewSecrets(testSecret)})
	b := started(t, Config{Network: wire, Secrets: NewSecrets(testSecret), Discovery: discovery.Static(a.Self().Addr)})
	stranger, err := net.Dial("udp", b.Self().Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	version := len(b.port.envelope.label)
	for deadline := time.Now().Add(10 * time.Second); b.Stats().BadPackets < 3*256; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d packets are counted", b.Stats().BadPackets)
		}
		for _, p := range wire.takePackets() {
			for v := range 256 {
				if v != packetVersion {
					p[version] = byte(v)
					_, _ = stranger.Write(p)
				}
			}
		}
	}
	if _, err := a.Ping(b.Self()); err != nil {
		t.Error(err)
	}
}

// answering is a socket on which the answer comes while a packet is being sent.
type answering struct {
	nowhere
	at time.Time
}

func (a *answering) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	a.at = time.Now()
	return len(b), nil
}

// A packet was sent before its answer came, by the clock that measures that.
func TestPacketIsSentBeforeItsAnswer(t *testing.T) {
	t.Parallel()
	udp := new(answering)
	tr := &transport{port: &port{udp: udp, envelope: enveloped(t, "c")}}
	for range 100 {
		sent, err := tr.WriteTo(labeled(tr.envelope, ping), "10.0.0.1:7946")
		if err != nil || sent.After(udp.at) {
			t.Fatalf("sent %v after the answer, %v", sent.Sub(udp.at), err)
		}
	}
}
