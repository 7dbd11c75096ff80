package enginetest

import (
	"context"
	"crypto/rand"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/runrig-go/runrig/verticle/lease"
	"github.com/runrig-go/runrig/verticle/lease/postgres"
)

const debian = "/usr/lib/postgresql/*/bin/"

var postgresEngine = engine{
	env: "LEASE_POSTGRES",
	start: func(t testing.TB) string {
		initdb, server := find(t, "initdb", "apt-get install postgresql", debian+"initdb"), find(t, "postgres", "apt-get install postgresql", debian+"postgres")
		dir, addr := tempDir(t), freeAddr(t)
		data := filepath.Join(dir, "data")
		if out, err := asNobody(t, exec.Command(initdb, "-D", data, "-A", "trust", "-U", "postgres", "-N", "--no-locale", "-E", "UTF8"), dir).CombinedOutput(); err != nil {
			t.Fatalf("initdb: %v\n%s", err, out)
		}
		cmd := asNobody(t, exec.Command(server, "-D", data, "-p", port(addr), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
			"-c", "max_connections=200"), dir)
		url := "postgres://postgres@" + addr + "/postgres"
		pool := postgresPool(t, url)
		serve(t, cmd, pool.Ping)
		if err := postgresStore(t, pool, "lease").CreateTable(t.Context()); err != nil {
			t.Fatal(err)
		}
		return url
	},
	at:       func(hostport string) string { return "postgres://postgres@" + hostport + "/postgres" },
	open:     func(t testing.TB, url string) lease.Store { return postgresStore(t, postgresPool(t, url), "lease") },
	maxValue: postgres.MaxValue,
}

func postgresPool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func postgresStore(t testing.TB, db postgres.DB, table string) *postgres.Store {
	t.Helper()
	s, err := postgres.New(db, table)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	url := postgresEngine.address(t)
	postgresEngine.test(t, url)
	t.Run("ConflictOfAMoment", func(t *testing.T) { testConflictOfAMoment(t, postgresPool(t, url)) })
	t.Run("Setup", func(t *testing.T) { testPostgresSetup(t, url) })
}

// testConflictOfAMoment: a put finds a key, which is gone when the store looks
// what it was. That is a conflict, and none that says that the key is absent, as the
// put expected.
func testConflictOfAMoment(t *testing.T, pool *pgxpool.Pool) {
	ctx, key := t.Context(), rand.Text()
	s := postgresStore(t, pool, "lease")
	version, err := s.Put(ctx, key, []byte("x"), 0)
	if err != nil {
		t.Fatal(err)
	}
	late := postgresStore(t, betweenStatements{pool, func() {
		if err := s.Delete(ctx, key, version); err != nil {
			t.Error(err)
		}
	}}, "lease")
	_, err = late.Put(ctx, key, []byte("y"), 0)
	if told := (*lease.Conflict)(nil); !errors.Is(err, lease.ErrConflict) || errors.As(err, &told) {
		t.Errorf("Put returned %v; want ErrConflict without what is there", err)
	}
	if err := s.Delete(ctx, key, 0); err != nil {
		t.Errorf("Delete of an absent key: %v", err)
	}
}

// betweenStatements calls a function before each SELECT.
type betweenStatements struct {
	postgres.DB
	f func()
}

func (b betweenStatements) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if strings.HasPrefix(sql, "SELECT") {
		b.f()
	}
	return b.DB.QueryRow(ctx, sql, args...)
}

// testPostgresSetup: what somebody has to mend is told.
func testPostgresSetup(t *testing.T, url string) {
	admin, ctx := postgresPool(t, url), t.Context()
	run := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE ROLE guest LOGIN")
	run("CREATE SCHEMA app")
	run("GRANT USAGE ON SCHEMA app TO guest")
	run("CREATE TABLE app.other (key text PRIMARY KEY)")
	s := postgresStore(t, admin, "app.lease")
	_, _, err := s.Get(ctx, "x")
	wantMisconfigured(t, err, `"app"."lease"`, "CreateTable")
	done := make(chan error, 8)
	for range cap(done) { // nodes that start at once
		go func() { done <- s.CreateTable(ctx) }() // awaited below
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	guest := postgresStore(t, postgresPool(t, "postgres://guest@"+url[len("postgres://postgres@"):]), "app.lease")
	_, _, err = guest.Get(ctx, "x")
	wantMisconfigured(t, err, `"app"."lease"`, "SELECT, INSERT, UPDATE and DELETE")
	run("GRANT SELECT, INSERT, UPDATE, DELETE ON app.lease TO guest")
	version, err := guest.Put(ctx, "x", nil, 0)
	if err == nil {
		version, err = guest.Put(ctx, "x", nil, version)
	}
	if err == nil {
		err = guest.Delete(ctx, "x", version)
	}
	if err != nil {
		t.Errorf("with the rights that are said to be enough: %v", err)
	}
	_, err = postgresStore(t, admin, "app.other").Put(ctx, "x", nil, 0)
	wantMisconfigured(t, err, `"app"."other"`, "not a table")
	for _, table := range []string{"", "a.", "a.b.c"} {
		if _, err := postgres.New(admin, table); err == nil {
			t.Errorf("the name %q of a table is taken", table)
		}
	}
}
