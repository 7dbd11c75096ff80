package dashboard_test

import "log/slog"

const secret = "0123456789abcdef0123456789abcdef"

var quiet = slog.New(slog.DiscardHandler)
