// Package postgres keeps leases in a table of PostgreSQL.
//
//	pool, err := pgxpool.New(ctx, "postgres://…")
//	store, err := postgres.New(pool, "runrig_lease")
//	err = store.CreateTable(ctx) // or by your migrations: see Store.Schema
//	err = verticle.Run(ctx, eb, lease.Singleton(store, "scheduler", new(Scheduler)))
//
// A Put is one statement of one row, and so one round trip and one commit. Versions
// come from a sequence, so that none comes twice. The store does not watch: who waits
// for a lease polls ([lease.WithPoll]).
//
// The store is as good as the server's commits: with synchronous_commit off, or after
// a failover to a replica that is not synchronous, writes that were answered may be
// lost, and a lease that one node holds may be given to another, until the first
// renews it. Connect to the primary: a replica's reads are old, and it takes no
// writes.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/runrig-go/runrig/verticle/lease"
)

// MaxValue is the most bytes that a value may have. PostgreSQL itself takes a field
// of 1 GB.
const MaxValue = 16 << 20

// DB is what the store needs of a pool or a connection of pgx. A *pgxpool.Pool is
// one; it is called concurrently, which a *pgx.Conn does not allow.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Store is a [lease.Store] in a table.
type Store struct {
	db    DB
	table string // quoted
	sql   statements
}

type statements struct{ get, insert, update, delete string }

// New returns a store in that table, of which the name may be preceded by its
// schema's and a dot. The pool stays the caller's, who closes it when the store is
// not used any more. Nothing is asked yet.
func New(db DB, table string) (*Store, error) {
	if db == nil {
		return nil, errors.New("lease/postgres: nil DB")
	}
	parts := strings.Split(table, ".")
	if slices.Contains(parts, "") || len(parts) > 2 {
		return nil, fmt.Errorf("lease/postgres: %q is no name of a table; want one as lease or schema.lease", table)
	}
	name := pgx.Identifier(parts).Sanitize()
	return &Store{db, name, statements{
		get:    "SELECT value, version FROM " + name + " WHERE key = $1",
		insert: "INSERT INTO " + name + " (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING RETURNING version",
		update: "UPDATE " + name + " SET value = $2, version = DEFAULT WHERE key = $1 AND version = $3 RETURNING version",
		delete: "DELETE FROM " + name + " WHERE key = $1 AND version = $2 RETURNING version",
	}}, nil
}

// Schema returns the statement that makes the table. The program's role then needs
// SELECT, INSERT, UPDATE and DELETE on it, and no right on its sequence.
func (s *Store) Schema() string {
	return "CREATE TABLE IF NOT EXISTS " + s.table + ` (
	key     text   PRIMARY KEY,
	version bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	value   bytea  NOT NULL
)`
}

// CreateTable makes the table if there is none.
func (s *Store) CreateTable(ctx context.Context) error {
	_, err := s.db.Exec(ctx, s.Schema())
	if code(err) == "23505" || code(err) == "42P07" { // somebody else was making it at the same time
		_, err = s.db.Exec(ctx, s.Schema())
	}
	if err != nil {
		return fmt.Errorf("lease/postgres: creating table %s: %w", s.table, err)
	}
	return nil
}

// Get returns the value of a key and its version, in one round trip.
func (s *Store) Get(ctx context.Context, key string) (value []byte, version uint64, err error) {
	var n int64
	err = s.db.QueryRow(ctx, s.sql.get, key).Scan(&value, &n)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, 0, s.wrap("get", key, err)
	}
	return value, uint64(n), nil
}

// Put sets the value of a key whose version is old, in one round trip; a conflict
// costs a second one.
func (s *Store) Put(ctx context.Context, key string, value []byte, old uint64) (uint64, error) {
	if len(value) > MaxValue {
		return 0, s.wrap("put", key, fmt.Errorf("%w: the value has %d bytes; the limit is %d", lease.ErrMisconfigured, len(value), MaxValue))
	}
	if value == nil {
		value = []byte{} // nil is NULL
	}
	if old == 0 {
		return s.change(ctx, "put", key, old, s.sql.insert, key, value)
	}
	return s.change(ctx, "put", key, old, s.sql.update, key, value, int64(old))
}

// Delete makes a key absent whose version is old, in one round trip; a conflict costs
// a second one.
func (s *Store) Delete(ctx context.Context, key string, old uint64) error {
	_, err := s.change(ctx, "delete", key, old, s.sql.delete, key, int64(old))
	if old == 0 && errors.Is(err, errChangedAgain) {
		return nil // it is absent
	}
	return err
}

// change runs a statement that returns the row's version if the key had the version
// old.
func (s *Store) change(ctx context.Context, verb, key string, old uint64, sql string, args ...any) (uint64, error) {
	var version int64
	err := s.db.QueryRow(ctx, sql, args...).Scan(&version)
	switch {
	case err == nil:
		return uint64(version), nil
	case code(err) == "40001": // two transactions at once, where those are serializable: this one has done nothing
		return 0, s.wrap(verb, key, fmt.Errorf("%w: %w", lease.ErrConflict, err))
	case !errors.Is(err, pgx.ErrNoRows):
		return 0, s.wrap(verb, key, err)
	}
	return 0, s.wrap(verb, key, s.conflict(ctx, key, old))
}

// errChangedAgain is a conflict with what is not there any more.
var errChangedAgain = fmt.Errorf("%w, and the key has the version that was expected by now", lease.ErrConflict)

// conflict is the error of a statement that has found another version than old. What
// is there is read after that; it may be the version old by then, of which a conflict
// cannot tell.
func (s *Store) conflict(ctx context.Context, key string, old uint64) error {
	value, is, err := s.Get(ctx, key)
	switch {
	case err != nil:
		return fmt.Errorf("%w; what is there now cannot be read: %w", lease.ErrConflict, err)
	case is == old:
		return errChangedAgain
	}
	return &lease.Conflict{Key: key, Value: value, Version: is}
}

// code is the SQLSTATE of an error of the server's, else "".
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// wrap says what failed where, and whether somebody has to mend the set-up.
func (s *Store) wrap(verb, key string, err error) error {
	setup := ""
	switch state := code(err); {
	case state == "42P01", state == "3F000":
		setup = "there is no such table: Store.CreateTable makes it"
	case state == "42501":
		setup = "the role needs SELECT, INSERT, UPDATE and DELETE on it, and USAGE on its schema"
	case state == "42703", strings.HasPrefix(state, "428"), strings.HasPrefix(state, "42804"), state == "42P10":
		setup = "it is not a table as Store.CreateTable makes it"
	case strings.HasPrefix(state, "28"), state == "3D000":
		setup = "the connection's role, password or database is wrong"
	default:
		return fmt.Errorf("lease/postgres: %s %q in table %s: %w", verb, key, s.table, err)
	}
	return fmt.Errorf("lease/postgres: %s %q in table %s: %w: %s: %w", verb, key, s.table, lease.ErrMisconfigured, setup, err)
}
