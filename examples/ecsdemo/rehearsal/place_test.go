package rehearsal

import (
	"strconv"
	"testing"
)

func TestPlacesDoNotMeet(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 2 { // rehearsals at the same time
		p := newPlaces(false)
		t.Cleanup(p.close)
		for range 3 {
			at, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			for _, addr := range []string{at.nodeAddr(), at.httpAddr()} {
				if seen[addr] {
					t.Errorf("%s was given twice", addr)
				}
				seen[addr] = true
			}
		}
	}
}

func TestPlacesOfOneAddress(t *testing.T) {
	t.Parallel()
	p := newPlaces(true)
	t.Cleanup(p.close)
	names := map[string]bool{}
	for range 3 {
		at, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if at.ip != localhost || at.http == at.node || at.name() != "127.0.0.1:"+strconv.Itoa(at.node) || names[at.name()] {
			t.Errorf("place %+v, called %s, after %v", at, at.name(), names)
		}
		names[at.name()] = true
		if c := at.ecs(); c.NetworkMode != "bridge" || c.Ports[0].HostPort != at.node || c.Ports[0].ContainerPort != nodePort {
			t.Errorf("the fake is told %+v", c)
		}
	}
}
