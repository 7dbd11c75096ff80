package cluster

import (
	"io"
	"strings"
	"testing"
)

// What nodes open gossip streams with passes whole; what is out of proportion, or
// nothing that a node sends, does not.
func TestCheckGossip(t *testing.T) {
	t.Parallel()
	const label = "\xf4\x06runrig"
	state := func(nodes, bytes string) string {
		return label + "\x06\x83\xa5Nodes" + nodes + "\xacUserStateLen" + bytes + "\xa4Join\xc3" + "and more"
	}
	for said, passes := range map[string]bool{
		label + "\x00\x82\xa5SeqNo\x01":                       true, // a ping
		state("\x05", "\x7f"):                                 true,
		state("\xcc\xff", "\xcd\x40\x00"):                     true,
		state("\xd1\x10\x00", "\xd2\x00\x10\x00\x00"):         true, // the most
		state("\xcd\x10\x00", "\xce\x00\x10\x00\x00"):         true,
		state("\xcd\x10\x01", "\x00"):                         false,
		state("\x01", "\xce\x00\x10\x00\x01"):                 false,
		state("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\x00"): false,
		state("\xd3\xff\xff\xff\xff\xff\xff\xff\xff", "\x00"): false,
		state("\xd0\xff", "\x00"):                             false, // -1
		state("\xff", "\x00"):                                 false, // -1, short
		state("\xa1x", "\x00"):                                false, // text
		label + "\x06\x92\x01\x02":                            false, // a list
		label + "\x06\x83\xd9\x05Nodes\x01":                   false, // a long key
		label + "\x06\x83\xa5Nodes":                           false, // cut off
		label + "\x08\x81\xaaUserMsgLen\x01":                  false, // a user's message
		label + "\x09\x82\xa4Algo\x00":                        false, // compressed
		label + "\x0a\x00\x00\x00\x05":                        false, // encrypted
		label + label + "\x00":                                false,
		label:                                                 false,
		"\xf4\xff":                                            false,
		"\x00\x82":                                            false, // no label
		"\xf4\x06bunrig\x00\x82":                              false, // another one
		"":                                                    false,
	} {
		c, err := checkGossip(&script{Reader: strings.NewReader(said)}, []byte(label), gossipAsks)
		if (err == nil) != passes {
			t.Errorf("%q: %v, want passes %v", said, err, passes)
		}
		if err != nil {
			continue
		}
		if whole, err := io.ReadAll(c); err != nil || string(whole) != said {
			t.Errorf("%q: %q, %v after it passed", said, whole, err)
		}
	}
}
