package postgres_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/runrig-go/runrig/cluster"
	"github.com/runrig-go/runrig/cluster/clustertest"
	"github.com/runrig-go/runrig/discovery"
	"github.com/runrig-go/runrig/discovery/discoverytest"
	"github.com/runrig-go/runrig/examples/postgres"
)

// TestTable runs all on one real server.
func TestTable(t *testing.T) {
	t.Parallel()
	pool, kill := newPool(t)
	_, err := (&postgres.Provider{Pool: pool, Cluster: "web"}).Peers(t.Context())
	if !discovery.IsMisconfigured(err) || !strings.Contains(err.Error(), "CreateTable") {
		t.Errorf("without the table: %v", err)
	}
	createAtOnce(t, pool)
	t.Run("all", func(t *testing.T) { // in parallel, before the server ends
		t.Run("conforms", func(t *testing.T) { testConforms(t, pool) })
		t.Run("renew", func(t *testing.T) { testRenew(t, pool) })
		t.Run("watch", func(t *testing.T) { testWatch(t, pool) })
		t.Run("cluster", func(t *testing.T) { testCluster(t, pool) })
		t.Run("guest", func(t *testing.T) { testGuest(t, pool) })
	})
	kill()
	discoverytest.RunDown(t, func(*testing.T) discovery.Provider { return &postgres.Provider{Pool: pool, Cluster: "web"} })
}

// createAtOnce has several nodes make the table at the same moment.
func createAtOnce(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	done := make(chan error, 8)
	for range cap(done) {
		go func() { done <- (&postgres.Provider{Pool: pool}).CreateTable(t.Context()) }() // awaited below
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func change(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// Nodes that were not seen for 30 s, and those of other clusters, are not told.
func testConforms(t *testing.T, pool *pgxpool.Pool) {
	change(t, pool, `INSERT INTO runrig_node VALUES ('conforms', 'a', '10.0.0.7:7946', now()), ('conforms', 'b', '[fd00::8]:7946', now() + interval '1 hour'),
		('conforms', 'c', '10.0.0.9:7946', now() - interval '31 s'), ('other', 'a', '10.0.0.10:7946', now())`)
	change(t, pool, `UPDATE runrig_node SET seen = now() + interval '1 hour' WHERE cluster = 'conforms' AND id = 'a'`) // for a slow test
	discoverytest.Run(t, func(*testing.T) discovery.Provider { return &postgres.Provider{Pool: pool, Cluster: "conforms"} },
		[]string{"10.0.0.7:7946", "[fd00::8]:7946"})
}

// An entry is renewed, and entered again where somebody has deleted it; what nobody has
// renewed for an hour is deleted.
func testRenew(t *testing.T, pool *pgxpool.Pool) {
	t.Parallel()
	p := &postgres.Provider{Pool: pool, Cluster: "renew"}
	r := discovery.Registration{ID: "a-1", Addr: "10.0.0.7:7946"}
	for _, before := range []string{
		`INSERT INTO runrig_node VALUES ('renew', 'old', '10.0.0.8:7946', now() - interval '2 hours')`,
		`UPDATE runrig_node SET seen = now() - interval '1 minute' WHERE cluster = 'renew'`,
		`DELETE FROM runrig_node WHERE cluster = 'renew'`,
	} {
		change(t, pool, before)
		if err := p.Register(t.Context(), r); err != nil {
			t.Error(err)
		}
		if got, err := p.Peers(t.Context()); err != nil || !slices.Equal(got, []string{r.Addr}) {
			t.Errorf("found %q, %v", got, err)
		}
		if n := entries(t, pool, "renew"); n != 1 {
			t.Errorf("%d entries, want one", n)
		}
	}
	for range 2 { // no entry is no error
		if err := p.Deregister(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	if n := entries(t, pool, "renew"); n != 0 {
		t.Errorf("%d entries after Deregister", n)
	}
}

func entries(t *testing.T, pool *pgxpool.Pool, cluster string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM runrig_node WHERE cluster = $1`, cluster).Scan(&n); err != nil {
		t.Error(err)
	}
	return n
}

// Who comes and who goes is noticed at once, who renews or is of another cluster is not.
func testWatch(t *testing.T, pool *pgxpool.Pool) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 10), make(chan error)
	p := &postgres.Provider{Pool: pool, Cluster: "watch"}
	go func() { ended <- p.Watch(ctx, func() { changed <- struct{}{} }) }()
	<-changed
	r := discovery.Registration{ID: "a-1", Addr: "10.0.0.7:7946"}
	other := &postgres.Provider{Pool: pool, Cluster: "watch-other"}
	for _, do := range []func(context.Context, discovery.Registration) error{other.Register, p.Register, p.Register, other.Deregister, p.Deregister} {
		if err := do(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	<-changed
	<-changed
	if len(changed) > 0 {
		t.Error("told of more than two changes")
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("Watch ended without an error")
	}
}

// Nodes that know nothing but the table are one cluster, and leave nothing behind.
func testCluster(t *testing.T, pool *pgxpool.Pool) {
	t.Parallel()
	c := clustertest.New(t, 3, clustertest.WithConfig(func(_ int, conf *cluster.Config) {
		conf.Cluster, conf.Discovery = "shop", &postgres.Provider{Pool: pool}
	}))
	c.Await("all are registered", 10*time.Second, func() bool { return entries(t, pool, "shop") == 3 })
	if err := c.Node(1).Close(); err != nil {
		t.Error(err)
	}
	if n := entries(t, pool, "shop"); n != 2 {
		t.Errorf("%d entries when one of three has left", n)
	}
}

// A role without rights is told what it needs, and needs no more.
func testGuest(t *testing.T, pool *pgxpool.Pool) {
	t.Parallel()
	change(t, pool, `CREATE ROLE guest LOGIN`)
	conf := pool.Config()
	conf.ConnConfig.User = "guest"
	guests, err := pgxpool.NewWithConfig(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer guests.Close()
	p := &postgres.Provider{Pool: guests, Cluster: "guest"}
	r := discovery.Registration{ID: "a-1", Addr: "10.0.0.7:7946"}
	if err := p.Register(t.Context(), r); !discovery.IsMisconfigured(err) || !strings.Contains(err.Error(), "INSERT") {
		t.Errorf("without rights: %v", err)
	}
	change(t, pool, `GRANT SELECT, INSERT, UPDATE, DELETE ON runrig_node TO guest`)
	for _, do := range []func(context.Context, discovery.Registration) error{p.Register, p.Register, p.Deregister} {
		if err := do(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
}
