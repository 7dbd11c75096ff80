package enginetest

import (
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/runrig-go/runrig/verticle/lease"
	"github.com/runrig-go/runrig/verticle/lease/redis"
)

var redisEngine = engine{
	env: "LEASE_REDIS",
	start: func(t testing.TB) string {
		addr := freeAddr(t)
		program := find(t, "redis-server", "apt-get install redis-server")
		cmd := exec.Command(program, "--port", port(addr), "--bind", "127.0.0.1", "--save", "", "--dir", tempDir(t))
		client := redisClient(t, addr)
		serve(t, cmd, func(ctx context.Context) error { return client.Ping(ctx).Err() })
		return addr
	},
	at:       func(hostport string) string { return hostport },
	open:     func(t testing.TB, addr string) lease.Store { return redisStore(t, redisClient(t, addr), "test:") },
	maxValue: redis.MaxValue,
}

func redisClient(t testing.TB, addr string) *goredis.Client {
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func redisStore(t testing.TB, client goredis.UniversalClient, prefix string) *redis.Store {
	t.Helper()
	s, err := redis.New(client, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRedis(t *testing.T) {
	t.Parallel()
	redisEngine.test(t, redisEngine.address(t))
}

// TestRedisSetup: what somebody has to mend is told.
func TestRedisSetup(t *testing.T) {
	t.Parallel()
	addr := redisEngine.address(t)
	admin := redisClient(t, addr)
	ctx := t.Context()
	if err := admin.Do(ctx, "ACL", "SETUSER", "guest", "on", ">pass", "~other:*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Do(ctx, "ACL", "SETUSER", "reader", "on", ">pass", "~*", "&*", "+@read", "+evalsha", "+eval").Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Set(ctx, "foreign:x", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	as := func(user, pass string) *goredis.Client {
		c := goredis.NewClient(&goredis.Options{Addr: addr, Username: user, Password: pass})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	_, _, err := redisStore(t, as("guest", "pass"), "test:").Get(ctx, "x")
	wantMisconfigured(t, err, "test:x", addr, "evalsha")
	_, err = redisStore(t, as("reader", "pass"), "test:").Put(ctx, "x", nil, 0)
	wantMisconfigured(t, err, "test:x", addr, "evalsha")
	_, err = redisStore(t, as("guest", "wrong"), "test:").Put(ctx, "x", nil, 0)
	wantMisconfigured(t, err, addr, "password")
	_, err = redisStore(t, admin, "foreign:").Put(ctx, "x", nil, 0)
	wantMisconfigured(t, err, "foreign:x", "another prefix")
	_, _, err = redisStore(t, admin, "foreign:").Get(ctx, "x")
	wantMisconfigured(t, err, "foreign:x", "another prefix")
	if _, err := redis.New(nil, ""); err == nil {
		t.Error("a nil client is taken")
	}
}

// TestRedisForgets: a server that has lost a lease ends it, and says what is wrong.
func TestRedisForgets(t *testing.T) {
	t.Parallel()
	addr := redisEngine.start(t)
	l, err := lease.NewLock(redisStore(t, redisClient(t, addr), ""), "x", lease.WithTTL(2*time.Second), lease.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := redisClient(t, addr).FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	<-h.Context().Done()
	if err := context.Cause(h.Context()); !errors.Is(err, lease.ErrStaleStore) || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("the lease ended with %v", err)
	}
	_ = h.Release()
}

// TestRedisWatchEnds: a watch ends when the server does, so that who waits polls.
func TestRedisWatchEnds(t *testing.T) {
	t.Parallel()
	addr := redisEngine.start(t)
	s := redisStore(t, redisClient(t, addr), "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes, err := s.Watch(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	_ = redisClient(t, addr).ShutdownNoSave(t.Context()).Err() // the connection ends before the answer
	for range changes {
	}
}
