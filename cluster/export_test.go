package cluster

// Entries counts what a node keeps of others: members, peers, kinds of log lines
// that are limited, connections of strangers, and payloads that wait.
func (n *Node) Entries() map[string]int {
	n.peers.mu.Lock()
	peers := len(n.peers.byBoot)
	n.peers.mu.Unlock()
	n.port.strangers.mu.Lock()
	strangers := n.port.strangers.used
	n.port.strangers.mu.Unlock()
	n.hub.mu.Lock()
	listeners := len(n.hub.listeners)
	n.hub.mu.Unlock()
	return map[string]int{
		"members":        len(n.Members()),
		"gossip members": len(n.gossip.Members()),
		"peers":          peers,
		"strangers":      strangers,
		"handshakes":     len(n.port.handshakes),
		"gossip streams": len(n.port.streams),
		"listeners":      listeners,
		"payloads":       len(n.payloads),
	}
}

// Heard reports whether gossip counts a member among the living.
func (n *Node) Heard(boot uint64) bool {
	n.roster.mu.Lock()
	defer n.roster.mu.Unlock()
	e := n.roster.byBoot[boot]
	return e != nil && e.gossip == StatusAlive
}

// HeardOf counts the others that gossip has among the living.
func (n *Node) HeardOf() int { return n.gossip.Memberlist().NumMembers() - 1 }
