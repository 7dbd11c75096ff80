package bridge_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/runrig-go/runrig/bus/bridge"
	"github.com/runrig-go/runrig/bus/bustest"
)

// Rules that say nothing, too much or what cannot be are errors that name the rule.
func TestRulesThatCannotBe(t *testing.T) {
	t.Parallel()
	in := bridge.In
	for text, r := range map[string]bridge.Rule{
		"direction 0":                         {Address: "a"},
		"direction 8":                         {Direction: 8, Address: "a"},
		"0 of Address, Prefix and Pattern":    {Direction: in},
		"2 of Address, Prefix and Pattern":    {Direction: in, Address: "a", Prefix: "b"},
		"are the library's own":               {Direction: in, Address: "_runrig.x"},
		"PublishedOnly is for the direction":  {Direction: in, Address: "a", PublishedOnly: true},
		"begin with \"_runrig.\"":             {Direction: in, Prefix: "_runrig."},
		"the match: json: unsupported type":   {Direction: in, Address: "a", Match: func() {}},
		"the match [1]: it is no JSON object": {Direction: in, Address: "a", Match: []int{1}},
	} {
		_, err := bridge.New(bustest.NewBus(t), bridge.Config{Rules: []bridge.Rule{{Direction: in, Address: "fine"}, r}})
		if err == nil || !strings.Contains(err.Error(), "rule 1: ") || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A client may send where a rule of In is for the address, as a whole for a pattern
// whose alternatives hide each other, and where its body has what the match asks for.
func TestRules(t *testing.T) {
	t.Parallel()
	type nested struct {
		N    map[string]any `json:"n"`
		List []int          `json:"list"`
	}
	s := newSetup(t, bustest.NewBus(t), bridge.Config{Rules: []bridge.Rule{
		{Direction: bridge.In, Prefix: "pre."},
		{Direction: bridge.In, Pattern: regexp.MustCompile(`a|ab|c.*`)},
		{Direction: bridge.Out, Address: "out"},
		{Direction: bridge.In, Address: "m", Match: nested{N: map[string]any{"x": 1.0, "y": map[string]any{}}, List: []int{1, 2}}},
		{Direction: bridge.In, Address: "m", Match: map[string]any{"big": int64(9007199254740993)}},
	}})
	p := s.dial("tcp")
	for _, c := range []struct {
		address, body string
		allowed       bool
	}{
		{"pre.x", "1", true}, {"pre", "1", false}, {"a", "1", true}, {"ab", "1", true}, {"abc", "1", false}, {"c\\nd", "1", false}, {"cd", "1", true},
		{"out", "1", false}, {"m", `{"n":{"x":1,"y":{"z":2},"more":3},"list":[1,2]}`, true}, {"m", `{"n":{"x":1e0,"y":{}},"list":[1.0,2]}`, true},
		{"m", `{"n":{"x":1,"y":{}},"list":[1,2,3]}`, false}, {"m", `{"n":{"x":1,"y":5},"list":[1,2]}`, false}, {"m", `{"n":{"x":"1","y":{}},"list":[1,2]}`, false},
		{"m", `{"n":{"x":1,"x":1,"y":{}},"list":[1,2]}`, false}, {"m", `{"big":9007199254740993}`, true}, {"m", `{"big":9007199254740992}`, false}, {"m", `[]`, false},
	} {
		p.write(`{"type":"send","address":"` + c.address + `","replyAddress":"r","body":` + c.body + `}`)
		got := p.read()
		if allowed := strings.Contains(got, "NO_HANDLERS"); allowed != c.allowed || !allowed && word(got) != "access_denied" {
			t.Errorf("%s %s: %s", c.address, c.body, got)
		}
	}
}

// A client may register where a rule of Out is for the address, and gets what has in its
// body what the match of the rule asks for.
func TestRulesOfRegistering(t *testing.T) {
	t.Parallel()
	out := bridge.Out
	overAll(t, bridge.Config{Rules: []bridge.Rule{
		{Direction: out, Address: "a"}, {Direction: out, Address: "b"},
		{Direction: out, Pattern: regexp.MustCompile(`p\.\d+`)}, {Direction: out, Pattern: regexp.MustCompile(`q.+`)},
		{Direction: out, Address: "m", Match: map[string]any{"fib": "wib", "oop": 12}},
		{Direction: bridge.In, Address: "in"},
		{Direction: out, Pattern: regexp.MustCompile(`any\..*`), Match: map[string]any{"ok": true}},
	}}, func(t *testing.T, s *setup, tr string) {
		p := s.dial(tr)
		for _, address := range []string{"c", "p.x", "q", "in", "aa"} {
			p.write(`{"type":"register","address":"` + address + `"}`)
			if got := word(p.read()); got != "access_denied" {
				t.Errorf("register at %s: %q", address, got)
			}
		}
		may := []string{"a", "b", "p.1", "qq", "m", "any.x"}
		for _, address := range may {
			p.write(`{"type":"register","address":"` + address + `"}`)
		}
		s.registered(t, len(may))
		for _, c := range []struct {
			address, body string
			comes         bool
		}{
			{"a", `1`, true}, {"b", `1`, true}, {"p.1", `1`, true}, {"qq", `1`, true},
			{"m", `{"oop":12}`, false}, {"m", `{"fib":"wib","oop":12}`, true}, {"m", `{"fib":"wib","oop":12,"blah":"foob"}`, true},
			{"m", `{"fib":"wob","oop":12}`, false}, {"m", `1`, false}, {"any.x", `{"ok":false}`, false}, {"any.x", `{"ok":true}`, true},
		} {
			if err := s.eb.Publish(t.Context(), c.address, json.RawMessage(c.body)); err != nil {
				t.Fatal(err)
			}
			if c.comes {
				expect(t, p, flavour(tr, `{"type":"message","address":"`+c.address+`","headers":{},"body":`+c.body+`,"send":false}`))
			}
		}
		within(t, "withheld", func() bool { return s.bridge.Stats().Withheld == 4 })
	})
}
