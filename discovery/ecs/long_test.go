package ecs_test

import "github.com/runrig-go/runrig/discovery/internal/long"

func init() { long.Waiting() } // most tests here do
