package clusterprom

import _ "embed" // for the files

// Board is a dashboard for Grafana, as JSON to be imported. It asks for the data source.
//
//go:embed board.json
var Board []byte

// Alerts are rules for Prometheus, as YAML.
//
//go:embed alerts.yml
var Alerts []byte
