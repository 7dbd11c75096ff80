package demo

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/runrig-go/runrig/cluster"
)

// view is what a node knows about the others, for the doctor.
type view struct {
	Self  string     `json:"self"` // its name
	Addr  string     `json:"addr"`
	State string     `json:"state"`
	Peers []peerView `json:"peers"`
}

// peerView is another member. Links are TCP; what gossip sends is UDP.
type peerView struct {
	Name   string `json:"name"`
	Addr   string `json:"addr"`
	Status string `json:"status"`
	Linked bool   `json:"linked"`
	UDP    string `json:"udp"` // why no packet was answered, or ""
}

const pings = 3 // of which one must be answered

// viewOf pings all members, for a second at most.
func viewOf(node *cluster.Node) view {
	self := node.Self()
	v := view{Self: self.String(), Addr: self.Addr, State: node.State().String()}
	members := node.Members()
	v.Peers = make([]peerView, 0, len(members))
	var pinging sync.WaitGroup
	for _, m := range members {
		if m.Boot == self.Boot {
			continue
		}
		v.Peers = append(v.Peers, peerView{Name: m.String(), Addr: m.Addr, Status: m.Status.String(), Linked: m.Linked()})
		p := &v.Peers[len(v.Peers)-1] // stays: there is room for all
		pinging.Go(func() {
			for range pings {
				_, err := node.Ping(m)
				if err == nil {
					p.UDP = ""
					return
				}
				p.UDP = err.Error()
			}
		})
	}
	pinging.Wait()
	return v
}

// serveInspection answers GET /peers.
func serveInspection(node *cluster.Node) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(viewOf(node))
	}
}
