package enginetest

import (
	"context"
	"os/exec"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/runrig-go/runrig/verticle/lease"
	"github.com/runrig-go/runrig/verticle/lease/etcd"
)

var etcdEngine = engine{
	env: "LEASE_ETCD",
	start: func(t testing.TB) string {
		addr, peer := freeAddr(t), freeAddr(t)
		program := find(t, "etcd", "apt-get install etcd-server")
		cmd := exec.Command(program, "--data-dir", tempDir(t), "--log-level", "error", "--unsafe-no-fsync",
			"--listen-client-urls", "http://"+addr, "--advertise-client-urls", "http://"+addr,
			"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer, "--initial-cluster", "default=http://"+peer)
		client := etcdClient(t, addr, "", "")
		serve(t, cmd, func(ctx context.Context) error {
			_, err := client.Get(ctx, "x")
			return err
		})
		return addr
	},
	at: func(hostport string) string { return hostport },
	open: func(t testing.TB, addr string) lease.Store {
		return etcdStore(t, etcdClient(t, addr, "", ""), "test/")
	},
	maxValue: etcd.MaxValue,
}

func etcdClient(t testing.TB, addr, user, password string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Username: user, Password: password, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func etcdStore(t testing.TB, client *clientv3.Client, prefix string) *etcd.Store {
	t.Helper()
	s, err := etcd.New(client, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEtcd(t *testing.T) {
	t.Parallel()
	etcdEngine.test(t, etcdEngine.address(t))
}

// TestEtcdSetup: what somebody has to mend is told.
func TestEtcdSetup(t *testing.T) {
	t.Parallel()
	addr := etcdEngine.start(t)
	admin, ctx := etcdClient(t, addr, "", ""), t.Context()
	for _, f := range []func() error{
		func() error { _, err := admin.RoleAdd(ctx, "root"); return err },
		func() error { _, err := admin.UserAdd(ctx, "root", "pass"); return err },
		func() error { _, err := admin.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := admin.UserAdd(ctx, "guest", "pass"); return err },
		func() error { _, err := admin.AuthEnable(ctx); return err },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := etcdStore(t, etcdClient(t, addr, "guest", "pass"), "test/").Put(ctx, "x", nil, 0)
	wantMisconfigured(t, err, "test/x", addr, "readwrite")
	_, _, err = etcdStore(t, admin, "test/").Get(ctx, "x")
	wantMisconfigured(t, err, "test/x", addr, "user")
	if _, err := etcd.New(nil, ""); err == nil {
		t.Error("a nil client is taken")
	}
}
