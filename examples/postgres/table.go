// Package postgres is discovery by a table of PostgreSQL, for a service that has a
// database and no registry: the nodes enter themselves, where others find them, and
// hear of each other by NOTIFY. It is an example of a discovery.Registrar that may be
// copied.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/runrig-go/runrig/discovery"
)

// Schema makes the table, if there is none, and is for a migration; [Provider.CreateTable] runs it.
const Schema = `CREATE TABLE IF NOT EXISTS runrig_node (
	cluster text NOT NULL,
	id      text NOT NULL,
	addr    text NOT NULL,
	seen    timestamptz NOT NULL,
	PRIMARY KEY (cluster, id)
)`

// An entry that is not renewed is over after 30 s, by the clock of the server alone,
// and somebody else's Register deletes it after an hour. The channel of
// notifications has the table's name.
const (
	peers = `SELECT addr FROM runrig_node WHERE cluster = $1 AND seen > now() - make_interval(secs => $2)`

	register = `WITH entered AS (
		INSERT INTO runrig_node (cluster, id, addr, seen) VALUES ($1, $2, $3, now())
		ON CONFLICT (cluster, id) DO UPDATE SET addr = $3, seen = now()
		RETURNING xmax = 0 AS fresh
	), forgotten AS (
		DELETE FROM runrig_node WHERE cluster = $1 AND id <> $2 AND seen < now() - interval '1 hour'
	)
	SELECT pg_notify('runrig_node', $1) FROM entered WHERE fresh`

	deregister = `WITH gone AS (DELETE FROM runrig_node WHERE cluster = $1 AND id = $2 RETURNING 1)
	SELECT pg_notify('runrig_node', $1) FROM gone`

	askTimeout = 10 * time.Second
)

// Provider finds nodes by the table.
type Provider struct {
	Pool    *pgxpool.Pool // of the primary; it stays the caller's
	Cluster string        // the default is the name of the cluster
}

var (
	_ discovery.Provider  = (*Provider)(nil)
	_ discovery.Registrar = (*Provider)(nil)
	_ discovery.Watcher   = (*Provider)(nil)
)

// CreateTable makes the table, if there is none.
func (p *Provider) CreateTable(ctx context.Context) error {
	// Several nodes may do so at once, which IF NOT EXISTS alone does not bear.
	err := pgx.BeginFunc(ctx, p.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('runrig_node'))"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, Schema)
		return err
	})
	return explained("make the table", err)
}

// Peers returns the nodes whose entry was renewed in time.
func (p *Provider) Peers(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	rows, err := p.Pool.Query(ctx, peers, p.cluster(ctx), (3 * discovery.Heartbeat).Seconds())
	if err != nil {
		return nil, explained("ask for nodes", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return found, explained("ask for nodes", err)
}

// Register renews the entry of a node, or enters it and tells the others.
func (p *Provider) Register(ctx context.Context, r discovery.Registration) error {
	_, err := p.Pool.Exec(ctx, register, p.cluster(ctx), r.ID, r.Addr)
	return explained("register "+r.ID, err)
}

// Deregister removes the entry, and tells the others.
func (p *Provider) Deregister(ctx context.Context, r discovery.Registration) error {
	_, err := p.Pool.Exec(ctx, deregister, p.cluster(ctx), r.ID)
	return explained("deregister "+r.ID, err)
}

// Watch waits for notifications, on a connection of its own.
func (p *Provider) Watch(ctx context.Context, changed func()) error {
	conn, err := pgx.ConnectConfig(ctx, p.Pool.Config().ConnConfig)
	if err != nil {
		return explained("connect to watch", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN runrig_node"); err != nil {
		return explained("watch", err)
	}
	for changed(); ; { // first: for what came before
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return explained("watch", err)
		}
		if n.Payload == p.cluster(ctx) {
			changed()
		}
	}
}

func (p *Provider) cluster(ctx context.Context) string {
	if p.Cluster != "" {
		return p.Cluster
	}
	return discovery.ClusterOf(ctx)
}

// explained says what failed, and marks what is for somebody to mend.
func explained(what string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("postgres: %s: %w", what, err)
	told := (*pgconn.PgError)(nil)
	if !errors.As(err, &told) {
		return err
	}
	switch {
	case told.Code == "42P01":
		return discovery.Misconfigured(fmt.Errorf("%w: Provider.CreateTable makes it", err))
	case told.Code == "42501", strings.HasPrefix(told.Code, "28"), told.Code == "3D000":
		return discovery.Misconfigured(fmt.Errorf("%w: the role needs SELECT, INSERT, UPDATE and DELETE on runrig_node", err))
	}
	return err
}
