package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// validate says what is wrong with addr as an entry of a Provider's list, in
// words that begin with it.
func validate(addr string) error {
	if addr == "" {
		return fmt.Errorf("%q is empty; give \"host:port\"", addr)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not \"host:port\": %w", addr, err)
	}
	if err := validateHost(host); err != nil {
		return fmt.Errorf("%q: %w", addr, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q: port %q is not a number from 1 to 65535", addr, port)
	}
	return nil
}

func validateHost(host string) error {
	if host == "" {
		return fmt.Errorf("the host is empty; give an IP address or a name")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() {
			return fmt.Errorf("host %q is the unspecified address; give the one the node is reached at", host)
		}
		return nil
	}
	if len(host) > 253 || strings.ContainsFunc(host, notInName) {
		return fmt.Errorf("host %q is neither an IP address nor a host name", host)
	}
	return nil
}

// notInName reports whether r cannot be in a host name. Underscores are not in
// RFC 1123 but in use.
func notInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	case r == '-', r == '.', r == '_':
		return false
	}
	return r < 0x80 // internationalised names are left to the resolver
}
