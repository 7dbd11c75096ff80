package cluster

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"errors"
)

// xaes seals with XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM under a key that
// comes of the secret's and the first half of a random nonce of 192 bits. All nodes
// of a cluster seal with one key for as long as the secret lives. 300 busy nodes send
// 2^32 packets in three days, after which random nonces of 96 bits may repeat with a
// probability of 2^-33, and that only grows; those of 192 bits reach it after 2^80.
type xaes struct {
	block cipher.Block
	mask  [aes.BlockSize]byte // K1 of CMAC
}

const (
	nonceSize    = 24
	xaesOverhead = nonceSize + 16 // nonce, tag
)

func newXAES(key []byte) (*xaes, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	x := &xaes{block: block}
	block.Encrypt(x.mask[:], x.mask[:])
	msb := 0
	for i := len(x.mask) - 1; i >= 0; i-- {
		msb, x.mask[i] = int(x.mask[i]>>7), x.mask[i]<<1|byte(msb)
	}
	x.mask[len(x.mask)-1] ^= byte(subtle.ConstantTimeSelect(msb, 0x87, 0))
	return x, nil
}

// derived returns AES-256-GCM for nonces that begin with these bytes. It makes, and
// reads, the other half of the nonce itself.
func (x *xaes) derived(nonce []byte) (cipher.AEAD, error) {
	key := make([]byte, 2*aes.BlockSize)
	for i := range 2 {
		half := key[i*aes.BlockSize:][:aes.BlockSize]
		copy(half, []byte{0, byte(i + 1), 'X', 0})
		copy(half[4:], nonce)
		subtle.XORBytes(half, half, x.mask[:])
		x.block.Encrypt(half, half)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal appends nonce, sealed message and tag to b.
func (x *xaes) seal(b, message, authenticated []byte) []byte {
	var nonce [nonceSize / 2]byte
	_, _ = rand.Read(nonce[:]) // never fails
	aead, err := x.derived(nonce[:])
	if err != nil {
		panic(err) // the key has the right size
	}
	return aead.Seal(append(b, nonce[:]...), nil, message, authenticated)
}

var errUnsealed = errors.New("not sealed with this key")

// open appends to b what seal has sealed.
func (x *xaes) open(b, sealed, authenticated []byte) ([]byte, error) {
	if len(sealed) < xaesOverhead {
		return nil, errUnsealed
	}
	aead, err := x.derived(sealed[:nonceSize/2])
	if err != nil {
		return nil, err
	}
	return aead.Open(b, nil, sealed[nonceSize/2:], authenticated)
}
