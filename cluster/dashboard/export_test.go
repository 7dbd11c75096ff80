package dashboard

import (
	"context"
	"net/http"
	"time"

	"github.com/runrig-go/runrig/cluster/inspect"
)

// Shown is the page of what snapshot returns, each time it is asked.
func Shown(snapshot func() inspect.Cluster) http.Handler {
	return newHandler(&shown{snapshot: snapshot}, Options{})
}

type shown struct {
	counted
	snapshot func() inspect.Cluster
}

func (s *shown) cluster(context.Context, inspect.Query) (inspect.Cluster, error) {
	return s.snapshot(), nil
}

// View makes what all tabs are sent of a snapshot.
func View(before, now *inspect.Cluster) any {
	return newView(newSample(before), newSample(now), before, map[string]time.Time{}).frame
}
