package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Direction says which way messages go that a [Rule] is for.
type Direction uint8

// The directions.
const (
	In  Direction = 1 << iota // from a client to the bus: send, publish
	Out                       // from the bus to a client: register, and what comes then
)

// Rule allows something; what no rule allows is denied. The first rule that fits
// the direction, the address and the body of a message decides. One of Address,
// Prefix and Pattern says which addresses it is for.
//
// No rule is needed for replies, either way, and none allows an address that begins
// with "_runrig.".
type Rule struct {
	Direction Direction // In, Out, or In|Out

	Address string         // this one
	Prefix  string         // those that begin with it
	Pattern *regexp.Regexp // those that it matches as a whole

	// Match is what the body must contain, to be allowed: the fields of a JSON
	// object, each with an equal value, where objects need only contain those of
	// Match's again. It is anything that encoding/json makes an object of. A body
	// that is no object, or gives a field twice, does not match. At register, where
	// there is no body, it is not looked at, but each message that comes is.
	Match any

	// Authority is what the client must have been granted ([Client.Grant]).
	Authority string

	// PublishedOnly, of a rule for Out that decides at register, has clients hear what is
	// published and take no turn of what is sent, like consumers that are
	// [bus.PublishedOnly]: for addresses that very many listen on. All clients of the
	// bridge then share one consumer, and each publish is encoded once.
	PublishedOnly bool
}

// rule is a Rule that was checked.
type rule struct {
	Rule
	match map[string]any // nil: any body
}

// reserved begins addresses that are the library's own.
const reserved = "_runrig."

func checked(rules []Rule) ([]rule, error) {
	out := make([]rule, len(rules))
	for i, r := range rules {
		if err := out[i].set(r); err != nil {
			return nil, fmt.Errorf("bridge: rule %d: %w", i, err)
		}
	}
	return out, nil
}

func (r *rule) set(from Rule) error {
	ways := 0
	for _, set := range []bool{from.Address != "", from.Prefix != "", from.Pattern != nil} {
		if set {
			ways++
		}
	}
	switch {
	case from.Direction == 0 || from.Direction&^(In|Out) != 0:
		return fmt.Errorf("direction %d; give In, Out or In|Out", from.Direction)
	case from.PublishedOnly && from.Direction&Out == 0:
		return errors.New("PublishedOnly is for the direction Out")
	case ways != 1:
		return fmt.Errorf("%d of Address, Prefix and Pattern are given; give one of them (the pattern .* is for all addresses)", ways)
	case strings.HasPrefix(from.Address, reserved) || strings.HasPrefix(from.Prefix, reserved):
		return fmt.Errorf("addresses that begin with %q are the library's own", reserved)
	}
	r.Rule = from
	if from.Pattern != nil {
		whole, err := regexp.Compile(`\A(?:` + from.Pattern.String() + `)\z`)
		if err != nil {
			return fmt.Errorf("the pattern: %w", err)
		}
		r.Pattern = whole
	}
	return r.setMatch(from.Match)
}

// setMatch takes over what the body must contain; nil: nothing.
func (r *rule) setMatch(match any) error {
	if match == nil {
		return nil
	}
	b, err := json.Marshal(match)
	if err != nil {
		return fmt.Errorf("the match: %w", err)
	}
	if r.match, err = object(b); err != nil {
		return fmt.Errorf("the match %s: %w", b, err)
	}
	return nil
}

func (r *rule) fits(d Direction, address string) bool {
	switch {
	case r.Direction&d == 0:
		return false
	case r.Address != "":
		return r.Address == address
	case r.Prefix != "":
		return strings.HasPrefix(address, r.Prefix)
	}
	return r.Pattern.MatchString(address)
}

// allow says by which code a client is refused, "" if it is not. Without a body, at
// register, b is nil.
func allow(rules []rule, c *Client, d Direction, address string, b json.RawMessage) code {
	r := decides(rules, d, address, b)
	if r == nil {
		return accessDenied
	}
	return c.authorized(r.Authority)
}

// decides returns the rule that decides, nil if there is none; see allow.
func decides(rules []rule, d Direction, address string, b json.RawMessage) *rule {
	if strings.HasPrefix(address, reserved) {
		return nil
	}
	var body map[string]any
	looked := b == nil
	for i := range rules {
		r := &rules[i]
		if !r.fits(d, address) {
			continue
		}
		if r.match != nil && b != nil {
			if !looked {
				body, _ = object(b)
				looked = true
			}
			if body == nil || !contains(body, r.match) {
				continue
			}
		}
		return r
	}
	return nil
}

var errNoObject = errors.New("it is no JSON object")

// object decodes a JSON object in which no field is given twice, at any depth.
func object(b []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errNoObject
	}
	m, err := restOfObject(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errNoObject
	}
	return m, nil
}

func restOfObject(d *json.Decoder) (map[string]any, error) {
	m := map[string]any{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := key.(string) // where More is true the decoder returns nothing else
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("field %q is given twice", name)
		}
		if m[name], err = value(d); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return m, err
}

func value(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		return restOfObject(d)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := value(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return t, nil
}

// contains reports whether have has all fields of want, with equal values.
func contains(have, want map[string]any) bool {
	for k, w := range want {
		h, ok := have[k]
		if !ok {
			return false
		}
		if inner, isObject := w.(map[string]any); isObject {
			if h, isObject := h.(map[string]any); !isObject || !contains(h, inner) {
				return false
			}
		} else if !equal(h, w) {
			return false
		}
	}
	return true
}

// equal compares decoded JSON; numbers are equal if they are so as written, or as
// floating point where one of them is written so.
func equal(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		return ok && equalNumbers(a, b)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && len(a) == len(b) && contains(a, b)
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equal(a[i], b[i]) {
				return false
			}
		}
		return true
	}
	return a == b
}

func equalNumbers(a, b json.Number) bool {
	if a == b {
		return true
	}
	if !strings.ContainsAny(string(a+b), ".eE") {
		return false
	}
	x, err := a.Float64()
	y, err2 := b.Float64()
	return err == nil && err2 == nil && x == y
}
