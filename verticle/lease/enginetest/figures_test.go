package enginetest

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/runrig-go/runrig/bus"
	"github.com/runrig-go/runrig/bus/bustest"
	"github.com/runrig-go/runrig/verticle"
	"github.com/runrig-go/runrig/verticle/lease"
	"github.com/runrig-go/runrig/verticle/lease/leasetest"
)

func BenchmarkRedis(b *testing.B) {
	redisEngine.measure(b, func(b *testing.B, addr string) func() error {
		client := redisClient(b, addr)
		return func() error { return client.Ping(context.Background()).Err() }
	})
}

// BenchmarkRedisFar has a server that is about a millisecond away, as in the next zone.
func BenchmarkRedisFar(b *testing.B) {
	addr := redisEngine.address(b)
	client := func() *goredis.Client {
		c := goredis.NewClient(&goredis.Options{Addr: addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			return farConn{c}, err
		}})
		b.Cleanup(func() { _ = c.Close() })
		return c
	}
	trip := client()
	b.Run("Lock", func(b *testing.B) {
		measureLock(b, redisStore(b, client(), "far:"), func() error { return trip.Ping(b.Context()).Err() })
	})
}

// farConn is a connection on which what arrives has taken longer.
type farConn struct{ net.Conn }

func (c farConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	time.Sleep(300 * time.Microsecond)
	return n, err
}

// The round trip is that of a statement that changes a row of a table like the store's:
// a commit is what costs.
func BenchmarkPostgres(b *testing.B) {
	postgresEngine.measure(b, func(b *testing.B, url string) func() error {
		pool := postgresPool(b, url)
		ctx := context.Background()
		if _, err := pool.Exec(ctx, "CREATE TABLE IF NOT EXISTS trip (n int PRIMARY KEY, x int); INSERT INTO trip VALUES (1, 1) ON CONFLICT DO NOTHING"); err != nil {
			b.Fatal(err)
		}
		return func() error {
			_, err := pool.Exec(ctx, "UPDATE trip SET x = x + 1 WHERE n = 1")
			return err
		}
	})
}

// The round trip is that of a put.
func BenchmarkEtcd(b *testing.B) {
	etcdEngine.measure(b, func(b *testing.B, addr string) func() error {
		client := etcdClient(b, addr, "", "")
		return func() error {
			_, err := client.Put(context.Background(), "trip", "x")
			return err
		}
	})
}

// The round trip is that of a put without a condition.
func BenchmarkDynalite(b *testing.B) { dynaliteEngine.measure(b, plainPut) }

func BenchmarkDynamoDBFake(b *testing.B) { fakeEngine.measure(b, plainPut) }

func plainPut(b *testing.B, url string) func() error {
	s := dynamoStore(b, url)
	version := uint64(0)
	return func() (err error) {
		version, err = s.Put(context.Background(), "trip", []byte("x"), version)
		return err
	}
}

// measure measures an engine: the shortest exchange with it, a lock that nobody else
// wants, and what a singleton takes to be somewhere else.
func (e engine) measure(b *testing.B, trip func(b *testing.B, address string) func() error) {
	address := e.address(b)
	once := trip(b, address)
	b.Run("Lock", func(b *testing.B) { measureLock(b, e.open(b, address), once) })
	b.Run("HandOver", func(b *testing.B) { e.measureSingleton(b, address, false) })
	b.Run("Crash", func(b *testing.B) { e.measureSingleton(b, address, true) })
}

// measureLock measures Acquire alone, without Release, and by turns with it a round
// trip, as others may use the machine. It reports the medians.
func measureLock(b *testing.B, s lease.Store, trip func() error) {
	l, err := lease.NewLock(s, rand.Text())
	if err != nil {
		b.Fatal(err)
	}
	var trips, locks []time.Duration
	for b.Loop() {
		began := time.Now()
		terr := trip()
		between := time.Now()
		h, err := l.Acquire(b.Context())
		locks = append(locks, time.Since(between))
		trips = append(trips, between.Sub(began))
		if err := errors.Join(terr, err); err != nil {
			b.Fatal(err)
		}
		if err := h.Release(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(trips), "µs/roundtrip")
	b.ReportMetric(median(locks), "µs/lock")
}

func median(all []time.Duration) (microseconds float64) {
	slices.Sort(all)
	return float64(all[len(all)/2].Nanoseconds()) / 1e3
}

// measureSingleton measures from the moment at which the node that has a singleton is
// told to leave, or vanishes, until another has started it; a ttl is 2 s.
func (e engine) measureSingleton(b *testing.B, address string, crash bool) {
	const nodes = 3
	quiet := slog.New(slog.DiscardHandler)
	var took time.Duration
	writes, reads, held := 0, 0, time.Duration(0)
	for b.Loop() {
		cluster := bustest.NewCluster(b, nodes, bus.WithLogger(quiet))
		started, name := make(chan int, nodes), rand.Text()
		var ds []*verticle.Deployment
		var stores []*leasetest.Store
		for i := range nodes {
			s := leasetest.NewStore(e.open(b, address))
			v := verticle.Func(func(context.Context, *verticle.Deployment) error { started <- i; return nil })
			d, err := verticle.Deploy(b.Context(), cluster.Bus(i), lease.Singleton(s, name, v, lease.WithTTL(2*time.Second)), verticle.WithLogger(quiet))
			if err != nil {
				b.Fatal(err)
			}
			ds, stores = append(ds, d), append(stores, s)
		}
		at := <-started
		before, began := counts(stores, at), time.Now()
		time.Sleep(2 * time.Second) // so that there is something to count
		after := counts(stores, at)
		writes, reads, held = writes+after[0]-before[0], reads+after[1]-before[1], held+time.Since(began)
		began = time.Now()
		if crash {
			stores[at].SetAway(true)
			for i := range nodes {
				if i != at {
					_ = cluster.Conn(at, i).Close()
				}
			}
		} else if err := ds[at].Undeploy(b.Context()); err != nil {
			b.Fatal(err)
		}
		<-started
		took += time.Since(began)
		stores[at].SetAway(false)
		for _, d := range ds {
			_ = d.Undeploy(b.Context())
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms/move")
	b.ReportMetric(float64(writes)/held.Seconds()*2, "writes/ttl")
	b.ReportMetric(float64(reads)/held.Seconds()*2/(nodes-1), "reads/ttl/standby")
}

// counts are the holder's writes, and the reads of all.
func counts(stores []*leasetest.Store, holder int) [2]int {
	reads := 0
	for _, s := range stores {
		reads += s.Counts().Gets
	}
	return [2]int{stores[holder].Counts().Puts, reads}
}
