package command

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
)

// document writes a value as JSON: one that stands alone, or a line of several.
func (c *call) document(v any) error {
	var b []byte
	var err error
	if c.watch.on {
		b, err = json.Marshal(v)
	} else {
		b, err = json.MarshalIndent(v, "", "  ")
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, harmless(string(b)))
	return err
}

// harmless escapes what JSON lets through and a terminal may act on. It is the same
// document.
func harmless(doc string) string {
	var b strings.Builder
	for _, r := range doc {
		switch {
		case r < ' ' || unicode.IsPrint(r): // outside of strings there are line ends
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
