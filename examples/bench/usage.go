package main

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// Usage is what a process has used since it started.
type Usage struct {
	CPU    time.Duration
	Allocs uint64
}

func usage() Usage {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(s)
	return Usage{CPU: cpuTime(), Allocs: s[0].Value.Uint64()}
}

func (u Usage) minus(o Usage) Usage { return Usage{u.CPU - o.CPU, u.Allocs - o.Allocs} }

func (u Usage) plus(o Usage) Usage { return Usage{u.CPU + o.CPU, u.Allocs + o.Allocs} }

// memory returns the bytes of heap and stacks that are in use.
func memory() int64 {
	runtime.GC()
	runtime.GC() // what pools have kept over one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
