package discovery

import (
	"context"
	"fmt"
	"slices"
)

// Static returns a Provider that always gives the same addresses, in the order
// given and each once. Every one must be "host:port" with an IP address or a
// name as host and a number from 1 to 65535 as port. A bad one makes every call
// of Peers fail with an error that names it and that [IsMisconfigured] knows,
// so that a typing mistake is not taken for an empty cluster. No address at all
// is an empty list: the node is the first one and waits to be found. The
// addresses are copied. Peers never waits.
func Static(addrs ...string) Provider {
	list := make([]string, 0, len(addrs))
	for _, addr := range addrs {
		if err := validate(addr); err != nil {
			return failing(fmt.Errorf("discovery: static address %w", err))
		}
		if !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	return ProviderFunc(func(context.Context) ([]string, error) { return slices.Clone(list), nil })
}

// failing is a Provider that was set up wrongly, as err says.
func failing(err error) Provider {
	err = Misconfigured(err)
	return ProviderFunc(func(context.Context) ([]string, error) { return nil, err })
}
