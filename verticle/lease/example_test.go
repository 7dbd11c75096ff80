package lease_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/runrig-go/runrig/verticle/lease"
)

// sendBill is in README.md.
func sendBill(ctx context.Context, store lease.Store, db *sql.DB, id int) error {
	err := lease.Run(ctx, store, "billing", func(ctx context.Context, fence uint64) error {
		const send = `UPDATE bill SET state = 'sent', fence = $1 WHERE id = $2 AND fence <= $1`
		r, err := db.ExecContext(ctx, send, fence, id)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, errors.New("another has taken over, who has a higher fence"))
		}
		return nil
	})
	return err
}

var _ = sendBill

func ExampleRun() {
	store := new(lease.Memory) // in production one of packages dynamodb, etcd, postgres, redis
	for range 2 {
		err := lease.Run(context.Background(), store, "migration", func(_ context.Context, fence uint64) error {
			fmt.Println("alone, with fence", fence)
			return nil
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// alone, with fence 1
	// alone, with fence 2
}

func ExampleCounter() {
	numbers, err := lease.NewCounter(new(lease.Memory), "invoices")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = numbers.Add(context.Background(), 1)
	n, err := numbers.Add(context.Background(), 1)
	fmt.Println(n, err)
	// Output: 2 <nil>
}

func ExampleMap() {
	settings, err := lease.NewMap[int](new(lease.Memory), "limits")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	_ = settings.Set(ctx, "uploads", 10)
	n, ok, err := settings.Get(ctx, "uploads")
	fmt.Println(n, ok, err)
	// Output: 10 true <nil>
}
