package cluster

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode"
)

// MinSecret is the least length of a secret, in bytes. A secret is used as it
// is and never stretched, so it must be random: a password will not do.
const MinSecret = 32

// Secrets are what the nodes of a cluster share and strangers do not know. The
// first is the current one, which this node presents and encrypts with; the
// others are accepted too. To change the secret without a pause, roll out
// {old, new}, then {new, old}, then {new}.
//
// The zero value holds none. Secrets never shows what it holds: fmt, slog and
// encoding/json print a placeholder.
type Secrets struct{ set *secretSet }

// secretSet is behind a pointer so that fmt shows nothing of it even where it
// cannot call Secrets' methods: in an unexported field.
type secretSet struct {
	list [][]byte
	err  error // why there is none
}

// NewSecrets returns the given secrets, the current one first. One of less than
// [MinSecret] bytes makes [Join] fail, none at all too.
func NewSecrets(secrets ...string) Secrets {
	set := new(secretSet)
	if len(secrets) == 0 {
		set.err = errors.New("no secret was given")
	}
	for i, s := range secrets {
		if len(s) < MinSecret {
			set.err = fmt.Errorf("secret %d of %d has %d bytes, needed are at least %d random ones", i+1, len(secrets), len(s), MinSecret)
		}
		set.list = append(set.list, []byte(s))
	}
	return Secrets{set}
}

// SecretsFromEnv reads secrets from an environment variable, where they are
// separated by commas or white space, the current one first. If the variable is
// not set or empty, or a secret in it too short, [Join] fails with an error that
// names it.
func SecretsFromEnv(name string) Secrets {
	list := strings.FieldsFunc(os.Getenv(name), func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	if len(list) == 0 {
		return Secrets{&secretSet{err: fmt.Errorf("environment variable %s is not set or empty", name)}}
	}
	s := NewSecrets(list...)
	if s.set.err != nil {
		s.set.err = fmt.Errorf("environment variable %s: %w", name, s.set.err)
	}
	return s
}

// given reports whether the setting was used, be it wrongly.
func (s Secrets) given() bool { return s.set != nil }

// String returns a placeholder.
func (s Secrets) String() string {
	if s.set == nil {
		return "[no secrets]"
	}
	return fmt.Sprintf("[%d secrets, redacted]", len(s.set.list))
}

// Format prints a placeholder, whatever the verb.
func (s Secrets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns a placeholder.
func (s Secrets) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns a placeholder.
func (s Secrets) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// keys are what a secret yields.
type keys struct {
	gossip []byte             // key of packets, of XAES-256-GCM
	link   ed25519.PrivateKey // identity on streams
}

// derive expands all secrets, or says why that cannot be done. Where none were
// given there are no keys.
func (s Secrets) derive() ([]keys, error) {
	if !s.given() {
		return nil, nil
	}
	if s.set.err != nil {
		return nil, fmt.Errorf("cluster: Config.Secrets: %w", s.set.err)
	}
	all := make([]keys, 0, len(s.set.list))
	for _, secret := range s.set.list {
		k, err := deriveKeys(secret)
		if err != nil {
			return nil, fmt.Errorf("cluster: Config.Secrets: %w", err)
		}
		all = append(all, k)
	}
	return all, nil
}

func deriveKeys(secret []byte) (keys, error) {
	root, err := hkdf.Extract(sha256.New, secret, []byte("runrig cluster secret v1"))
	if err != nil {
		return keys{}, err
	}
	gossip, err := hkdf.Expand(sha256.New, root, "gossip aes-256-gcm", 32)
	if err != nil {
		return keys{}, err
	}
	seed, err := hkdf.Expand(sha256.New, root, "link ed25519", ed25519.SeedSize)
	if err != nil {
		return keys{}, err
	}
	return keys{gossip, ed25519.NewKeyFromSeed(seed)}, nil
}
