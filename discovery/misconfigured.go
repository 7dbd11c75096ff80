package discovery

import (
	"errors"
	"fmt"
)

// Misconfigured returns err marked as one that will not pass by itself:
// somebody has to change a setting, a name or a permission. Its text stays as
// it is, and errors.Is and errors.As find in it what they found in err. Nil
// stays nil. See [IsMisconfigured].
func Misconfigured(err error) error {
	if err == nil {
		return nil
	}
	return &verdict{err, true}
}

// IsMisconfigured reports whether err, of a [Provider], says of itself that it
// will not pass until somebody changes something. A node then asks its provider
// slowly, each 30 s, and logs the error loudly. An error says so by a method Misconfigured() bool, as those that
// [Misconfigured] returns have; in a tree of errors the first one that has the
// method decides, in the order of errors.As, so that an error can overrule
// those it wraps. An error without it may pass at any moment.
func IsMisconfigured(err error) bool {
	var says interface{ Misconfigured() bool }
	return errors.As(err, &says) && says.Misconfigured()
}

// verdict is an error that says whether it passes by itself, whatever it wraps.
type verdict struct {
	error
	lasts bool
}

func (v *verdict) Unwrap() error       { return v.error }
func (v *verdict) Misconfigured() bool { return v.lasts }

// together makes one error of those of several providers. It passes by itself
// if one of them does.
func together(format string, errs []error) error {
	lasts := true
	var all []error
	for _, err := range errs {
		if err != nil {
			all = append(all, err)
			lasts = lasts && IsMisconfigured(err)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &verdict{fmt.Errorf(format, errors.Join(all...)), lasts}
}
