package guard

import "reflect"

// IsNil reports whether v is nil, or a nil pointer or function of some type, as a
// program gives that has not looked at the error of what made it.
func IsNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return (r.Kind() == reflect.Pointer || r.Kind() == reflect.Func) && r.IsNil()
}
