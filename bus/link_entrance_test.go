package bus_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Addresses take turns at a link that is full, however many senders one has: who
// sends one message at a time to another waits for a turn of each.
func TestAddressesTakeTurnsAtAFullLink(t *testing.T) {
	for _, l := range []line{
		{rate: mbit(8), delay: 20 * time.Millisecond},
		{rate: mbit(100), delay: time.Millisecond},
	} {
		for _, large := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes a second, large: %v", l.rate, large), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					sn := newLine(t, l)
					defer sn.close()
					from, to := sn.bus(0), sn.bus(1)
					for _, address := range []string{"many", "some", "few"} {
						for range 8 {
							consume(t, to, address, nothing)
						}
					}
					consume(t, to, "lone", nothing)
					for address, senders := range map[string]int{"many": 256, "some": 16, "few": 2} {
						defer flood(from, address, senders, 4<<10)()
					}
					if large {
						defer flood(from, "few", 2, 256<<10)()
					}
					time.Sleep(5 * time.Second)
					var longest time.Duration
					for range 20 {
						begin := time.Now()
						if err := from.Send(t.Context(), "lone", nil); err != nil {
							t.Fatal(err)
						}
						longest = max(longest, time.Since(begin))
						time.Sleep(10 * time.Millisecond)
					}
					t.Logf("waited for %v at most", longest)
					if longest > 600*time.Millisecond {
						t.Error("a message waited for longer than a turn of each other address takes")
					}
				})
			})
		}
	}
}
