package bus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
)

// The messages of a sender with one key are begun in the order sent, and each
// once, and those of one key one at a time at a consumer, which may handle several keys at
// once, while consumers close and nodes leave; windows are full and some bodies
// large. Consumers come only when nothing is under way.
func TestStressByKey(t *testing.T) {
	t.Parallel()
	s := &keyStress{t: t, cluster: bustest.NewCluster(t, 1, quiet, bus.WithEvents(func(e bus.Event) {
		if d, ok := e.(bus.DeadLetter); ok {
			t.Errorf("dead letter: %v", d.Reason)
		}
	})), at: map[keyStream]*arrivals{}}
	rounds := 0
	for end := time.Now().Add(stressTime()); rounds == 0 || time.Now().Before(end) && !t.Failed(); rounds++ {
		s.round()
	}
	s.check()
	t.Logf("%d rounds, %d messages, %d sent back, %d begun late at consumers that had closed", rounds, s.sent.Load(), s.bounced(), s.late)
}

// keyStream is what a sender sends with a key.
type keyStream struct{ sender, key uint32 }

// arrivals is how the messages of a stream came to handlers.
type arrivals struct {
	sent    uint32
	arrived []arrived
}

type arrived struct {
	seq uint32
	by  *keyConsumer
}

type keyConsumer struct {
	*bus.Consumer
	node    int
	places  int             // messages that it may handle at once
	count   int             // of messages that it began
	running map[uint32]bool // the keys of the messages that it handles
}

type keyStress struct {
	t         *testing.T
	cluster   *bustest.Cluster
	sent      atomic.Int64
	nodes     []int // that have not left, but for the first
	consumers []*keyConsumer
	all       []int // nodes that there ever were
	late      int

	mu      sync.Mutex
	at      map[keyStream]*arrivals
	handled int64
}

// round adds nodes and consumers, then takes them away under load until one is
// left, and waits until all is handled.
func (s *keyStress) round() {
	for len(s.nodes) < 3 {
		i := s.cluster.Add()
		s.nodes, s.all = append(s.nodes, i), append(s.all, i)
	}
	for _, node := range append([]int{0}, s.nodes...) {
		for range 1 + rand.IntN(3) {
			s.open(node)
		}
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for sender := range uint32(8) {
		wg.Go(func() { s.sender(sender, stop) })
	}
	for len(s.consumers) > 1 {
		time.Sleep(rand.N(6*time.Millisecond) * time.Duration(rand.IntN(2))) // load, or two at once
		if n := len(s.nodes); n > 0 && rand.IntN(3) == 0 {
			s.leave(rand.IntN(n))
		} else {
			s.close(rand.IntN(len(s.consumers)))
		}
	}
	close(stop)
	wg.Wait()
	within(s.t, "all handled", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.handled == s.sent.Load()
	})
}

func (s *keyStress) open(node int) {
	k := &keyConsumer{node: node, places: 1 + rand.IntN(2)*rand.IntN(4), running: map[uint32]bool{}}
	c, err := s.cluster.Bus(node).Consume("k", bus.HandlerFunc(func(_ context.Context, m *bus.Message) error {
		defer s.handle(k, m.Body)()
		if rand.IntN(8) == 0 {
			time.Sleep(rand.N(time.Millisecond)) // some are slow, so that others wait
		}
		return nil
	}), bus.WithWindow(1<<10<<rand.IntN(9)), bus.WithConcurrency(k.places))
	if err != nil {
		s.t.Error(err)
		return
	}
	if err := c.Known(s.t.Context()); err != nil {
		s.t.Error(err)
	}
	k.Consumer = c
	s.consumers = append(s.consumers, k)
}

func (s *keyStress) close(i int) {
	s.consumers[i].Close()
	s.consumers = append(s.consumers[:i], s.consumers[i+1:]...)
}

func (s *keyStress) leave(i int) {
	node := s.nodes[i]
	var left []*keyConsumer
	for _, k := range s.consumers {
		if k.node != node {
			left = append(left, k)
		}
	}
	if len(left) == 0 {
		s.close(0)
		return
	}
	s.consumers, s.nodes = left, append(s.nodes[:i], s.nodes[i+1:]...)
	if err := s.cluster.Bus(node).Close(); err != nil {
		s.t.Errorf("n%d: %v", node, err)
	}
}

// sender sends with a few keys, from the first node and from those that may
// leave: it is another sender after that.
func (s *keyStress) sender(id uint32, stop <-chan struct{}) {
	from := 0
	if id%2 == 1 {
		from = s.all[len(s.all)-1-int(id)%3]
	}
	eb := s.cluster.Bus(from)
	id |= uint32(from) << 8
	for !isClosed(stop) {
		k := keyStream{id, rand.Uint32N(5)}
		if !s.send(eb, k) {
			return
		}
	}
}

func (s *keyStress) send(eb *bus.EventBus, k keyStream) bool {
	s.mu.Lock()
	a := s.at[k]
	if a == nil {
		a = new(arrivals)
		s.at[k] = a
	}
	seq := a.sent + 1
	s.mu.Unlock()
	body := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, k.sender), k.key), seq)
	size := stressSize()
	if rand.IntN(30) == 0 {
		size = 64<<10 + rand.IntN(128<<10)
	}
	body = append(body, make([]byte, size)...)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var err error
	key := bus.ByKey(fmt.Sprint("key ", k.key))
	if rand.IntN(10) == 0 {
		_, err = eb.Request(ctx, "k", body, key)
	} else {
		err = eb.Send(ctx, "k", body, key)
	}
	if err != nil {
		if !errors.Is(err, bus.ErrClosed) {
			s.t.Errorf("%+v: %v", k, err)
		}
		return false
	}
	s.sent.Add(1)
	s.mu.Lock()
	a.sent = seq
	s.mu.Unlock()
	return true
}

// handle notes that a handler has begun, and returns what notes its end.
func (s *keyStress) handle(by *keyConsumer, body []byte) (end func()) {
	k := keyStream{binary.LittleEndian.Uint32(body), binary.LittleEndian.Uint32(body[4:])}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := arrived{binary.LittleEndian.Uint32(body[8:]), by}
	s.at[k].arrived = append(s.at[k].arrived, a)
	by.count++
	s.handled++
	if by.running[k.key] {
		s.t.Errorf("%+v: number %d was begun beside another of its key, at %d places (%d bytes)", k, a.seq, by.places, len(body))
	}
	by.running[k.key] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(by.running, k.key)
	}
}

// check checks the order. A consumer that has closed may be late with a message
// at each of its places, whose handler was just about to begin.
func (s *keyStress) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := map[*keyConsumer]int{} // messages of it that came late
	for k, a := range s.at {
		next := uint32(1)
		ahead := map[uint32]bool{}
		for _, m := range a.arrived {
			switch {
			case m.seq == next:
				for next++; ahead[next]; next++ {
					delete(ahead, next)
				}
			case m.seq > next && !ahead[m.seq]:
				ahead[m.seq] = true
			default:
				s.t.Errorf("%+v: number %d came twice", k, m.seq)
			}
		}
		if next != a.sent+1 {
			s.t.Errorf("%+v: %d of %d came", k, next-1, a.sent)
		}
		for i, m := range a.arrived {
			late := false
			for _, before := range a.arrived[:i] {
				late = late || before.seq > m.seq
			}
			if !late {
				continue
			}
			s.late++
			if last[m.by]++; last[m.by] > m.by.places || !isClosed(m.by.Done()) {
				s.t.Errorf("%+v: number %d was late", k, m.seq)
			}
		}
	}
}

func (s *keyStress) bounced() (n uint64) {
	for _, i := range append([]int{0}, s.all...) {
		n += s.cluster.Bus(i).Stats().Bounced
	}
	return n
}
