package bus

import (
	"fmt"
	"strings"
)

// reservedPrefix begins the addresses of this library's own packages.
const reservedPrefix = "_runrig."

type reservedOption struct{}

func (reservedOption) applyCall(o *callOptions)       { o.reserved = true }
func (reservedOption) applyConsume(o *consumeOptions) { o.reserved = true }

// Reserved allows an address that begins with "_runrig.". The packages of this
// library use such addresses between nodes; programs have no need of them. A
// call or a consumer without the option is refused there, so that nobody comes
// in their way by accident, and nobody who only passes addresses on, as a bridge
// does, lets a client in.
func Reserved() interface {
	CallOption
	ConsumeOption
} {
	return reservedOption{}
}

// checkReserved refuses a reserved address unless the option allows it.
func checkReserved(address string, allowed bool) error {
	if strings.HasPrefix(address, reservedPrefix) && !allowed {
		return fmt.Errorf("bus: address %q is reserved: those that begin with %q are for runrig's own packages; take another", address, reservedPrefix)
	}
	return nil
}
