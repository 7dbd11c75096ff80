package cluster

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// event is one of serf's messages.
func event(time uint64, name, payload string) []byte {
	b := binary.BigEndian.AppendUint64([]byte("\x03\x84\xa5LTime\xcf"), time)
	b = append(b, "\xa4Name\xda"...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(name))), name...)
	b = append(b, "\xa7Payload\xc5"...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(payload))), payload...)
	return append(b, "\xa2CC\xc2"...)
}

// However many events come of one time, no more are let through than serf is to keep,
// and repeats; events of other times go on, and take the place of the old ones.
func TestEventGate(t *testing.T) {
	t.Parallel()
	g := newEventGate()
	dropped := 0
	g.dropped = func() { dropped++ }
	screened := func(time uint64, name string) (passed bool) {
		message := event(time, name, strings.Repeat("x", 1000))
		if err := g.screen(message); err != nil {
			t.Fatal(err)
		}
		return message[0] == serfEvent
	}
	const flood = 2 * maxEvents / 1000
	passed := 0
	for i := range flood {
		if screened(7, fmt.Sprint(i)) {
			passed++
		}
	}
	if kept := passed * 1000; kept > maxEvents || kept < maxEvents/2 || dropped != flood-passed {
		t.Errorf("%d of %d events pass, %d are counted", passed, flood, dropped)
	}
	if !screened(7, "0") {
		t.Error("a repeat does not pass")
	}
	repeat := "\x82\xa4Name\xda\x00\x010\xa7Payload\xc5\x03\xe8" + strings.Repeat("x", 1000)
	state := &said{from: bufio.NewReader(strings.NewReader("\x82\xa5LTime\x07\xa6Events\x91" + repeat)), lease: new(lease)}
	if state.eventsOfTime(g); state.err != nil || !bytes.Contains(state.all, []byte("Events")) {
		t.Errorf("a repeat in a state does not pass: %v", state.err)
	}
	if screened(7+eventTimes, "later"); screened(7, "older") {
		t.Error("an event that is too old passes")
	}
	for time := range uint64(eventTimes) {
		if !screened(8+time, "later") {
			t.Fatalf("an event of time %d does not pass after a flood of time 7", 8+time)
		}
	}
	if g.bytes > 2*eventTimes*1000 {
		t.Errorf("%d bytes are counted after the time of the flood is over", g.bytes)
	}
}

// The events of a time of which there are too many are not found in a state, and the
// rest of it is as it was.
func TestEventsOfStates(t *testing.T) {
	t.Parallel()
	entry := func(time uint64, events ...string) string {
		b := binary.BigEndian.AppendUint16([]byte("\xa6Events\xdc"), uint16(len(events)))
		for _, e := range events {
			b = append(b, "\x82\xa4Name\xa1e\xa7Payload\xc5"...)
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(e))), e...)
		}
		return "\x82\xa5LTime" + string(rune(time)) + string(b)
	}
	var many []string
	for i := range 2 * maxEvents / 1000 {
		many = append(many, fmt.Sprintf("%01000d", i))
	}
	for what, c := range map[string]struct {
		entry string
		whole bool
	}{"few": {entry(7, "a", "b"), true}, "many": {entry(7, many...), false}, "none": {"\xc0", true}} {
		state := "\x82\xa5LTime\x01\xa6Events\x92\xc0" + c.entry
		s := &said{from: bufio.NewReader(strings.NewReader(state)), lease: new(lease)}
		s.state(newEventGate())
		want := []byte(state)
		if !c.whole {
			want = bytes.Replace(want, []byte("\xa5LTime\x07\xa6Events"), []byte("\xa5LTime\x07\xa6Excess"), 1)
		}
		if s.err != nil || !bytes.Equal(s.all, want) {
			t.Errorf("%s: %v, changed: %v", what, s.err, !bytes.Equal(s.all, []byte(state)))
		}
	}
}

// A packet of which an event is dropped is whole otherwise: its checksum is right.
func TestPacketWithoutAnEvent(t *testing.T) {
	t.Parallel()
	g := newEventGate()
	if !g.admit(7+eventTimes, []byte("later")) {
		t.Fatal("the first event does not pass")
	}
	message := append([]byte{gossipUser}, event(7, "old", "x")...)
	packet := append([]byte{gossipChecksum, 0, 0, 0, 0}, message...)
	binary.BigEndian.PutUint32(packet[1:], crc32.ChecksumIEEE(message))
	if err := checkMessages(packet, g); err != nil || packet[6] != serfIgnored {
		t.Fatalf("%v, type %d", err, packet[6])
	}
	if err := checkMessages(append([]byte{gossipChecksum}, packet[1:5]...), g); err == nil {
		t.Error("a packet without messages passes")
	}
	if crc32.ChecksumIEEE(packet[5:]) != binary.BigEndian.Uint32(packet[1:5]) {
		t.Error("the checksum is that of the packet before")
	}
}

// A state with two lists of events of one time is nobody's.
func TestTwoListsOfEvents(t *testing.T) {
	t.Parallel()
	s := &said{from: bufio.NewReader(strings.NewReader("\x83\xa5LTime\x07\xa6Events\x90\xa6Events\x90")), lease: new(lease)}
	if s.eventsOfTime(newEventGate()); s.err == nil {
		t.Error("it passes")
	}
}
