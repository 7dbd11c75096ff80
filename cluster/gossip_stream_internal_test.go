package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

const testLabel = "\xf4\x06runrig"

// exchanged is an exchange of states with so many nodes and such a state, as the
// header tells it.
func exchanged(nodes, state string, rest ...string) string {
	return testLabel + "\x06\x83\xa5Nodes" + nodes + "\xacUserStateLen" + state + "\xa4Join\xc3" + strings.Join(rest, "")
}

const (
	testNode  = "\x87\xa4Addr\xc4\x04\x0a\x00\x00\x02\xa4Port\xcd\x1f\x0a\xa4Name\xa1y\xa5State\x00\xabIncarnation\x01\xa4Meta\xc0\xa3Vsn\xc4\x06\x01\x05\x02\x02\x05\x04"
	testState = "\x02\x84\xa5LTime\xcf\x00\x00\x00\x00\x00\x00\x00\x01\xacStatusLTimes\x81\xa1y\x01\xabLeftMembers\x90\xa6Events\xdc\x00\x02\xc0\xc0"
)

// What nodes say on gossip streams passes whole; what none says does not.
func TestReadGossip(t *testing.T) {
	t.Parallel()
	size := string(binary.BigEndian.AppendUint16([]byte{0xcd}, uint16(len(testState))))
	for said, passes := range map[string]bool{
		testLabel + "\x00\x81\xa5SeqNo\x01":                                  true, // a ping
		exchanged("\x00", "\x00"):                                            true,
		exchanged("\x01", "\x00", testNode):                                  true,
		exchanged("\xd1\x00\x02", size, testNode, testNode, testState):       true,
		exchanged("\x01", size, testNode, testState, "and more"):             true, // which nobody reads
		exchanged("\x01", size, testNode, testState[1:]):                     false,
		exchanged("\x01", "\x7f", testNode, testState):                       false, // the state is longer
		exchanged("\x01", "\x02", testNode, testState):                       false, // and shorter
		exchanged("\x02", "\x00", testNode):                                  false,
		exchanged("\xcd\x10\x01", "\x00"):                                    false,
		exchanged("\x00", "\xce\x00\x10\x00\x01"):                            false,
		exchanged("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\x00"):            false,
		exchanged("\xd3\xff\xff\xff\xff\xff\xff\xff\xff", "\x00"):            false,
		exchanged("\xd0\xff", "\x00"):                                        false, // -1
		exchanged("\xff", "\x00"):                                            false, // -1, short
		exchanged("\xa1x", "\x00"):                                           false, // text
		exchanged("\x01", "\x00", "\xc1"):                                    false,
		exchanged("\x01", "\x00", "\xd4\x00\x00"):                            false, // an extension
		exchanged("\x01", "\x00", strings.Repeat("\x91", maxDepth+1)+"\x00"): false,
		exchanged("\x01", "\x00", "\xdb\xff\xff\xff\xff"):                    false, // text of 4 GiB
		exchanged("\x01", "\x00", "\xdd\xff\xff\xff\xff"):                    false,
		testLabel + "\x06\x92\x01\x02":                                       false, // a list
		testLabel + "\x06\x83\xd9\x05Nodes\x01":                              false, // a long key
		testLabel + "\x06\x83\xa5Nodes":                                      false, // cut off
		testLabel + "\x08\x81\xaaUserMsgLen\x01x":                            false, // a user's message
		testLabel + "\x09\x82\xa4Algo\x00\xa3Buf\xc4\x01x":                   false, // compressed
		testLabel + "\x0a\x00\x00\x00\x05hello":                              false, // encrypted
		testLabel + testLabel + "\x00\x81\xa5SeqNo\x01":                      false,
		testLabel:                             false,
		"\xf4\xff":                            false,
		"\x00\x81\xa5SeqNo\x01":               false, // no label
		"\xf4\x06bunrig\x00\x81\xa5SeqNo\x01": false, // another one
		"":                                    false,
	} {
		rooms := pool{left: maxStreams}
		c, err := readGossip(&script{Reader: iotest.OneByteReader(strings.NewReader(said))}, &rooms, &envelope{events: newEventGate()}, []byte(testLabel), gossipAsks)
		if (err == nil) != passes {
			t.Errorf("%q: %v, want passes %v", said, err, passes)
		}
		if err == nil {
			whole, err := io.ReadAll(c)
			if want := strings.TrimSuffix(said, "and more"); err != nil || string(whole) != want {
				t.Errorf("%q: %q, %v after it passed", said, whole, err)
			}
			_ = c.Close()
			_ = c.Close()
		}
		if rooms.left != maxStreams {
			t.Errorf("%q: %d bytes of room were not given back", said, maxStreams-rooms.left)
		}
	}
}

// endless says a text, and then a byte for ever.
type endless struct {
	net.Conn
	text *strings.Reader
	more byte
	said int
}

func (e *endless) Read(b []byte) (n int, err error) {
	if n, err = e.text.Read(b); err == io.EOF {
		n, err = len(b), nil
		copy(b, bytes.Repeat([]byte{e.more}, n))
	}
	e.said += n
	return n, err
}

// No stream is read further than a message may cost, whatever it is made of, and all
// together no further than there is room.
func TestGossipIsBounded(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		head  string
		more  byte
		bytes int // that are read at most
	}{
		"a long name":    {"\xdb\x00\x5f\xff\xff", 'x', 6 << 20},
		"a longer name":  {"\xdb\x7f\xff\xff\xff", 'x', 8 << 10},
		"many numbers":   {"\xdd\x7f\xff\xff\xff", 1, 256 << 10},
		"many lists":     {"\xdd\x7f\xff\xff\xff", 0x90, 256 << 10},
		"empty maps":     {"\xdf\x7f\xff\xff\xff", 0x80, 256 << 10},
		"lists in lists": {"", 0x91, 8 << 10},
	} {
		e := &endless{text: strings.NewReader(exchanged("\x01", "\x00", c.head)), more: c.more}
		rooms := pool{left: maxStreams}
		if _, err := readGossip(e, &rooms, &envelope{events: newEventGate()}, []byte(testLabel), gossipAsks); !errors.Is(err, errGossip) {
			t.Errorf("%s: %v, want %v", what, err, errGossip)
		}
		if e.said > c.bytes || rooms.left != maxStreams {
			t.Errorf("%s: %d bytes are read, want at most %d; %d are kept", what, e.said, c.bytes, maxStreams-rooms.left)
		}
	}
	rooms := pool{left: maxStream / 2}
	e := &endless{text: strings.NewReader(exchanged("\x01", "\x00", "\xdb\x00\x3f\xff\xff")), more: 'x'}
	if _, err := readGossip(e, &rooms, &envelope{events: newEventGate()}, []byte(testLabel), gossipAsks); !errors.Is(err, errCrowdedGossip) || rooms.left != maxStream/2 {
		t.Errorf("%v, %d left, want %v", err, rooms.left, errCrowdedGossip)
	}
}

// The answer to a stream that this node opened is looked through, too.
func TestAnswersOfGossip(t *testing.T) {
	t.Parallel()
	for said, passes := range map[string]bool{
		"\x02\x82\xa5SeqNo\x01\xa7Payload\xc0":               true,
		"\x0d\x81\xa5Error\xa2no":                            true,
		exchanged("\x01", "\x00", testNode)[len(testLabel):]: true,
		"\x00\x81\xa5SeqNo\x01":                              false,
		"\x09\x82\xa4Algo\x00\xa3Buf\xc4\x01x":               false, // compressed
	} {
		d := &dialled{envelope: &envelope{events: newEventGate()}, Conn: &script{Reader: strings.NewReader(said)}}
		if got, err := io.ReadAll(d); (err == nil) != passes || passes && string(got) != said {
			t.Errorf("%q: %q, %v, want passes %v", said, got, err, passes)
		}
		_ = d.Close()
	}
}
