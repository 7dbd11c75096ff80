package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"
)

// A record is what the store has under a lease's key. It stays there when the
// lease is released, so that the fence rises for ever.
type record struct {
	Holder string `json:"holder,omitempty"` // a random id for each acquisition; "" when nobody holds the lease
	Label  string `json:"label,omitempty"`  // who the holder says it is, for a human
	Fence  uint64 `json:"fence"`            // one more for each holder
	TTL    int64  `json:"ttl_ms,omitempty"` // how long it is the holder's after the last write
	Write  uint64 `json:"write,omitempty"`  // counts the holder's writes
}

func (r *record) ttl() time.Duration { return time.Duration(r.TTL) * time.Millisecond }

func (r *record) encode() []byte {
	b, _ := json.Marshal(r) // of strings and numbers, which never fails
	return b
}

// decode reads a record. One of somebody else's making is a wrong set-up.
func decode(key string, b []byte) (r record, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%w: %q in the store is no lease: %w", ErrMisconfigured, key, err)
	}
	if r.Holder != "" && (r.ttl() < minTTL || r.ttl() > maxTTL) {
		return r, fmt.Errorf("%w: %q in the store has a ttl of %v", ErrMisconfigured, key, r.ttl())
	}
	return r, nil
}

// Keys of a store.
const (
	leasePrefix   = "lease/"
	counterPrefix = "counter/"
	mapPrefix     = "map/"

	// MaxName is the most bytes that the name of a lease, counter or map has.
	MaxName = 200
)

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("lease: empty name")
	case len(name) > MaxName:
		return fmt.Errorf("lease: name of %d bytes; the limit is %d", len(name), MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("lease: name %q is not UTF-8", name)
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return fmt.Errorf("lease: name %q has a control character", name)
		}
	}
	return nil
}
