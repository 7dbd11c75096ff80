module github.com/runrig-go/runrig/verticle/lease/postgres

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.13.0
	github.com/runrig-go/runrig v0.1.0
)

require (
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	golang.org/x/text v0.41.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/runrig-go/runrig => ../../..
