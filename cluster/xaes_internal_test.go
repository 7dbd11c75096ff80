package cluster

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// XAES-256-GCM is that of c2sp.org: these are its test vectors, of both values of the
// bit that CMAC's K1 depends on.
func TestXAES(t *testing.T) {
	t.Parallel()
	const nonce, message = "ABCDEFGHIJKLMNOPQRSTUVWX", "XAES-256-GCM"
	for _, c := range []struct {
		key                   byte
		authenticated, sealed string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		x := xaesOf(t, c.key)
		sealed, err := hex.DecodeString(c.sealed)
		if err != nil {
			t.Fatal(err)
		}
		got, err := x.open([]byte("> "), append([]byte(nonce), sealed...), []byte(c.authenticated))
		if string(got) != "> "+message || err != nil {
			t.Errorf("key %d: %q, %v", c.key, got, err)
		}
		again := x.seal(nil, []byte(message), []byte(c.authenticated))
		if got, err := x.open(nil, again, []byte(c.authenticated)); string(got) != message || err != nil || len(again) != len(message)+xaesOverhead {
			t.Errorf("key %d: %d bytes are opened as %q, %v", c.key, len(again), got, err)
		}
	}
}

func xaesOf(t *testing.T, key byte) *xaes {
	t.Helper()
	x, err := newXAES(bytes.Repeat([]byte{key}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// No nonce is used twice, nor the key that comes of its first half, and what is too
// short, changed, or authenticated with something else is not opened.
func TestXAESNonces(t *testing.T) {
	t.Parallel()
	x := xaesOf(t, 7)
	seen := map[string]bool{}
	for range 1000 {
		sealed := x.seal(nil, nil, []byte("head"))
		if seen[string(sealed[:nonceSize/2])] || seen[string(sealed[nonceSize/2:nonceSize])] {
			t.Fatal("half a nonce was used before")
		}
		seen[string(sealed[:nonceSize/2])], seen[string(sealed[nonceSize/2:nonceSize])] = true, true
	}
	sealed := x.seal(nil, []byte("x"), []byte("head"))
	for i := range sealed {
		other := bytes.Clone(sealed)
		other[i] ^= 1
		if _, err := x.open(nil, other, []byte("head")); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := x.open(nil, sealed[:i], []byte("head")); err == nil {
			t.Errorf("the first %d bytes are opened", i)
		}
	}
	if _, err := x.open(nil, sealed, []byte("other")); err == nil {
		t.Error("opened with something else authenticated")
	}
}
