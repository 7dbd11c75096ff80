package redis

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/runrig-go/runrig/verticle/lease"
)

// silence is after how long without a word the server is asked whether it is there.
const silence = 5 * time.Second

// Watch returns a channel that tells what the key has become. It takes a connection
// of its own. The channel is closed when that breaks.
func (s *Store) Watch(ctx context.Context, key string) (<-chan lease.Change, error) {
	sub := s.client.Subscribe(ctx, s.prefix+key)
	if _, err := sub.ReceiveTimeout(ctx, silence); err != nil { // that it is subscribed
		_ = sub.Close()
		return nil, s.wrap("watch", key, err)
	}
	changes := make(chan lease.Change, 1)
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() }) // ends follow
	go func() {                                                // until ctx ends, or the connection
		follow(ctx, sub, changes)
		stop()
		_ = sub.Close()
		close(changes)
	}()
	return changes, nil
}

// follow hands on what is published. What nobody has taken is replaced.
func follow(ctx context.Context, sub *goredis.PubSub, changes chan lease.Change) {
	for quiet := false; ctx.Err() == nil; {
		received, err := sub.ReceiveTimeout(ctx, silence)
		var late net.Error
		switch {
		case err != nil && (quiet || !errors.As(err, &late) || !late.Timeout() || sub.Ping(ctx) != nil):
			return
		case err != nil:
			quiet = true
			continue
		}
		quiet = false
		if _, again := received.(*goredis.Subscription); again {
			return // the client has connected once more: messages may be lost
		}
		message, ok := received.(*goredis.Message)
		if !ok {
			continue // the answer to a ping
		}
		version, value, _ := strings.Cut(message.Payload, " ")
		n, err := strconv.ParseUint(version, 10, 64)
		if err != nil {
			return // somebody else's channel
		}
		select {
		case <-changes:
		default:
		}
		changes <- lease.Change{Value: []byte(value), Version: n} // there is room: only this sends
	}
}
