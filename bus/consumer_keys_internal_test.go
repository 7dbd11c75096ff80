package bus

import (
	"slices"
	"testing"
)

// What was held for a key waits in line again in the order in which it came, ahead of what
// came later, and a request among it is found wherever it is.
func TestHeldMessagesWaitAgain(t *testing.T) {
	t.Parallel()
	b, in := &mailbox{}, &origin{}
	var ms []*Message
	for i, key := range []uint64{1, 1, 2, 1, 0, 2, 1} {
		m := &Message{in: in, id: uint64(i + 1), word: word{traits(kindRequest, 0, 0)}}
		if key != 0 {
			m.setRare(nil, key<<choiceBits|uint64(byKey))
		}
		ms = append(ms, m)
		b.push(m)
	}
	all := func(what string) {
		t.Helper()
		for i, m := range ms {
			if b.find(in, uint64(i+1)) != m {
				t.Errorf("%s: request %d is not found", what, i+1)
			}
		}
	}
	all("all wait")
	var begun []*Message
	for m := b.pop(true); m != nil; m = b.pop(true) {
		begun = append(begun, m)
	}
	if want := []*Message{ms[0], ms[2], ms[4]}; !slices.Equal(begun, want) {
		t.Fatalf("begun %v", begun)
	}
	if b.len() != 4 || b.ready() {
		t.Errorf("%d wait, ready %v", b.len(), b.ready())
	}
	all("some are held")
	b.ran(ms[0])
	b.keys.pass(ms[0])
	if !b.ready() || b.len() != 4 {
		t.Errorf("%d wait, ready %v", b.len(), b.ready())
	}
	ms = ms[1:]
	for i := range ms {
		ms[i].id = uint64(i + 1)
	}
	b.finder = nil
	all("one is next")
	b.seal()
	if want := []*Message{ms[0], ms[2], ms[4], ms[5]}; !slices.Equal(b.waiting(), want) || b.len() != 4 {
		t.Errorf("%v wait", b.waiting())
	}
	all("all wait again")
	if m := b.pop(true); m != ms[0] {
		t.Errorf("begun %v", m)
	}
	if m := b.pop(true); m != nil || b.len() != 3 {
		t.Errorf("begun %v; %d wait", m, b.len())
	}
}

// Messages without a key cost a consumer nothing for the sake of keys.
func TestNoKeysNoTurns(t *testing.T) {
	t.Parallel()
	b := &mailbox{}
	for range 10 {
		b.push(&Message{word: word{traits(kindSend, 0, 0)}})
		if b.pop(true) == nil || b.keys != nil {
			t.Fatal("a message without a key took a turn")
		}
	}
}
