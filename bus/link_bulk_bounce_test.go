package bus_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/internal/wire"
)

// A large message on its way back holds up those behind it, and ROUTES_DONE:
// nothing of the route comes back after that.
func TestLargeBounceInOrder(t *testing.T) {
	for name, leaves := range map[string]bool{"closed consumer": false, "leaving node": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 200 << 10
				p := playPeer(t)
				block := make(chan struct{})
				cn, err := p.eb.Consume("in", growing(func(context.Context, *bus.Message) error { <-block; return nil }), bus.WithWindow(1<<20))
				if err != nil {
					t.Fatal(err)
				}
				p.say(routesFrame(1, true, nil), ackFrame(1))
				p.say(ackFrame(2)) // of its number
				p.grow()
				msg := func(body string) *wire.Frame {
					return msgFrame(&wire.Msg{Kind: 1, Route: 1, TimeLeft: 60000, Body: []byte(body)})
				}
				p.say(msg("being handled"), msg("0"), msg("1"), msg("2"))
				p.say(bulkFrame(t, 1, size, &wire.Msg{Kind: 1, Route: 1, TimeLeft: 60000}))
				for sent := 0; sent < size; sent += 50 << 10 {
					p.say(chunkFrame(1, make([]byte, 50<<10)))
				}
				p.say(msg("3"))
				p.heard()
				closed := make(chan error, 1)
				if leaves {
					go func() { closed <- p.eb.Close() }()
					synctest.Wait()
					p.say(leavingOKFrame)
				} else {
					cn.Close()
					synctest.Wait()
					p.say(ackFrame(3))
				}
				var said []string
				var came, acked uint64 // of the large body
				note := func() {
					for _, f := range p.heard() {
						switch k := f.Kind.(type) {
						case *wire.Frame_Bounce:
							said = append(said, string(k.Bounce.Body))
						case *wire.Frame_Bulk:
							said = append(said, "bulk")
						case *wire.Frame_Chunk:
							if came == 0 {
								said = append(said, "chunks")
							}
							came += uint64(len(k.Chunk.Data))
						case *wire.Frame_RoutesDone:
							said = append(said, fmt.Sprint("done ", k.RoutesDone.Route))
						}
					}
				}
				note()
				if fmt.Sprint(said) != "[0 1 2 bulk]" {
					t.Errorf("before its memory is granted: %q", said)
				}
				p.say(&wire.Frame{Kind: &wire.Frame_BulkGo{BulkGo: &wire.Chunk{Id: 1}}})
				note()
				for came < size {
					p.say(&wire.Frame{Kind: &wire.Frame_ChunkAck{ChunkAck: &wire.Chunk{Id: 1, Bytes: came - acked}}})
					acked = came
					if note(); came == acked {
						t.Fatalf("no more than %d bytes of %d came", came, size)
					}
				}
				want := "[0 1 2 bulk chunks 3 done 1]"
				if leaves {
					want = "[0 1 2 bulk chunks 3 done 0]"
				}
				if fmt.Sprint(said) != want {
					t.Errorf("in all: %q, not %q", said, want)
				}
				close(block)
				synctest.Wait()
				if leaves {
					p.say(goodbyeFrame)
					p.CloseWrite()
					if err := <-closed; err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
