// Package cluster makes the buses of many processes one: its nodes find each
// other, agree on who is alive, and link their buses.
//
//	eb := bus.New()
//	node, err := cluster.Join(ctx, eb, cluster.Config{
//		Discovery: discovery.Static("10.0.0.7:7946", "10.0.0.8:7946"),
//		Secrets:   cluster.SecretsFromEnv("RUNRIG_SECRET"),
//	})
//	defer node.Close()
//
// Discovery says where others may be. Gossip (hashicorp/serf) says who is there
// and who is not any more. Messages take neither way: between each two nodes
// there is one connection, the link, over which their buses speak.
//
// # What is guaranteed
//
// A node keeps asking discovery for as long as it lives, and joins who is found
// and not among the living, so that islands merge after a partition of any
// length, if discovery tells of a node of each. It asks members that failed, too,
// for the hour for which they are listed, or for 30 s if discovery tells of
// others that live and not of them. A failure of discovery is "could not ask": it
// is logged and asked again, never taken for "nobody there". It is asked after
// 0.5, 1, 2, 4 s and then each 5 s while nobody was reached, and for its first
// minute by a node that is told of nobody; from then on every 30 s, or as many
// seconds as there are members if that is more. An error that somebody has to
// mend (discovery.IsMisconfigured) is logged at error level and asked about every
// 30 s. Names are looked up side by side, each for three seconds at most, and one
// that fails now leads where it led last. Addresses are asked side by side, too:
// eight, and eight more each quarter of a second while nobody has answered. A
// node that is with others asks one at which nobody answers after an eighth of
// the time for which it has been silent, at least each 2 min (15 s if more
// members have failed than are linked). All these times vary by 20 %.
//
// Who is alive is judged by two witnesses, gossip and the links, of which a link
// that is up is believed first: see [Status]. [Node.State] says whom this node is
// with. A node that loses its last link is cut off, or the last that lives, and
// says so within six seconds, however large the cluster was: silence breaks a
// link after 4.75 s at most, and a second later its member counts as lost.
// Readiness is another question, which [Node.Serving] answers: it is not lost
// when others are, as the node serves all the same. What is wrong meanwhile is
// for a human, in [Node.Trouble] and the log.
//
// Two links to one node never overlap: the old one is down, with all that was
// known over it, before the new one is up. A node that restarts at its address
// takes the place of its predecessor, whose links end then, however dead or
// alive they look. (Calls and answers that cross are numbered: the answer to a
// dial counts as proof of who lives at an address only if no other node has
// called from there since the dial began; else the next dial decides.) Two
// nodes that both live and advertise one address are found out: ErrAddress in a
// [Conflict] and in the log, from half a minute after they met, or
// at the second question if discovery leads one of them to the other. A node that
// others do not reach where it advertises to be says so itself: ErrUnreached in
// an [Unreached] and in the log, once, within a minute; its links,
// which it dials itself, hold.
//
// With [Config].Secrets nothing that a stranger sends gets further than the TLS
// handshake: each stream, gossip's too, is mutual TLS 1.3 with a key that only
// holders of the secret have, and each packet is sealed with XAES-256-GCM. This
// package opens and checks packets before gossip sees them. The name of the
// cluster is authenticated with it, but can be read in packets. Who
// holds the secret is trusted fully: it can remove or impersonate any node. Past
// streams stay secret if the secret is lost later; packets do not.
//
// A node without Secrets listens on the loopback only, unless [Config].Insecure
// says that the network is trusted.
//
// A node that is refused, or refuses another, for a wrong secret, cluster name or
// protocol version says why: as a [RefusedError] in a [Refused], in the log, and
// in [Stats], on both sides.
//
// # What is not
//
// The nodes' views of each other differ for a while after every change. Both
// sides of a partition go on. Two nodes that cannot reach each other exchange
// nothing, even if a third reaches both. Names are not checked to be unique,
// the boot ids behind them are.
//
// There are no locks, maps or counters for the whole cluster, and no quorum. They
// need consensus, which nodes that come and go cannot give honestly; use a store
// that has it.
//
// # What runs where
//
// Handlers run where package bus says. [Config].Discovery is asked by Join and
// then by a goroutine of the node; what it blocks is the search for others, and
// nothing else. There are no callbacks: who wants to know reads [Node.Events],
// and who is slow to read holds up nobody. Join, Close and Ping wait, as they
// say, and no other method does.
//
// RUNNING.md, beside this file, has what a program needs around it: a secret, health
// checks, manifests, time to leave; TROUBLE.md says what to do when nothing joins.
//
// # One port
//
// All goes over one port, TCP and UDP, by default 7946. Both must be open between
// all nodes, in both directions; without UDP gossip limps along over TCP, and says
// so in the log once a minute (Packetless in [Stats]). A node
// behind address translation sets [Config].Advertise.
//
// # Limits
//
//	connections that have not told who they are   64, of which half are kept for members' addresses
//	time they have for it                         3 s
//	what they may send for it                     4 KiB, after the TLS handshake if there is a secret
//	TLS handshakes that compute at once           8
//	gossip streams at once, without a secret      64, of 24 MiB in memory together
//	nodes and state that one tells of             4,096 and 1 MiB, 6 MiB in memory
//	members that are alive                        4,096; more are not taken
//	name of a node, of a cluster                  111 and 64 bytes
//	tags of a node, encoded                       512 bytes, of which about 50 are taken
//	time a lost link takes to be dialled again    100 ms, doubling to 5 s
//	time a failed member is listed                1 h; one that left 30 min; 2 min while over 1,024 are listed
//
// Every node is linked with every other, which suits clusters of up to a few
// hundred nodes. Measured in memory, with TLS: three goroutines and about 100
// KiB for a link at each end, sixteen goroutines and 0.3 MiB for a node. By
// that a node of 300 has 900 goroutines and 30 MiB; joining them is 299
// handshakes, about 0.2 s of one core, and an idle one sends 600 small frames a
// second.
//
// On real sockets of one machine a node joins two others within 10 ms, TLS
// included, and leaves within 0.6 s, of which gossip takes 0.5.
//
// # Faults
//
// What a program sees when nodes are killed, stopped, cut off, replaced or attacked
// is measured in FAULTS.md, beside this file: with real processes under load, in
// network namespaces and in virtual time, each figure with the command that repeats
// it, and the same done to Vert.x. In short: requests to a process that is killed
// fail within milliseconds, and those to one that is silent within 4.75 s, with an
// error that says so; a node that leaves fails no request and loses no message; and a
// partition of any length heals within seconds of its end.
//
// # The gossip lane
//
// bus.Publish with bus.Gossip goes over serf's user events: to the consumers of
// all nodes, epidemically, without links, at a cost for the sender that does
// not grow with the cluster. It is for small, rare, repeatable notices. It is
// not the way for messages because it has no order, is lossless only when it is
// nearly idle, and does not say when it loses: past its rate events are dropped
// or come seconds later, and one that does not fit a packet would never be sent
// at all.
//
// This package therefore sets limits, which are errors of the sender. An event,
// as encoded, must fit one packet: 1,024 bytes of address, headers and body do,
// in a cluster whose name is not too long and with few headers; else the error
// is bus.ErrTooLarge. A node may send 4 KiB a second, as encoded, about 100
// bytes of which an event takes besides its body, and save up 16 KiB; else it
// is bus.ErrBusy. The rate is shared: each node passes everything on, so that
// all nodes together should stay below what is lossless in the table. Events
// from before a node joined others are not delivered to it. One that others join
// first may get some, of up to an hour before its start.
//
// Measured with encryption: one sender without its budget, nodes of one process
// on the loopback of a shared 2-core machine that was busy otherwise, 8 s each.
// p50 and p99 are milliseconds until another node had it; late is what came
// after more than a second, mostly by the exchange of states each 10 s. (go
// test ./cluster -run MeasureGossipLane -measure -timeout 25m -v)
//
//	                   3 nodes                5 nodes                10 nodes
//	bytes  events/s     p50/p99  lost  late    p50/p99  lost  late    p50/p99  lost  late
//	   64        10       32/39     0     0      20/41     0     0     50/103     0     0
//	   64        50       29/50     0     0      24/55     0     0     39/155     0     0
//	   64       100       28/49     0     0      23/62     0     0     40/250 0.014%     0
//	   64       200       22/97  1.1%     0     27/191 0.66% 0.016%     42/234  2.8%     0
//	   64       400      28/155   20% 0.062%     30/150   18% 0.062%     60/251   19% 0.087%
//	  256        10       10/11     0     0       2/55     0     0     48/190     0 0.28%
//	  256        25       28/52     0     0     29/213     0     0     44/709     0 0.056%
//	  256        50       27/47     0     0     29/236     0     0     46/564 0.11% 0.083%
//	  256       100      25/203  3.2% 0.12%     24/216  1.2% 0.031%     49/361  4.6% 0.17%
//	 1000         2         3/4     0     0      42/65     0     0      15/77     0     0
//	 1000         5         2/4     0     0      33/79     0     0     14/266     0     0
//	 1000        10        1/57     0     0      30/51     0     0     46/112     0     0
//	 1000        20       42/46 0.31% 0.31%     28/381 0.16% 0.31%    45/1234  0.9%  1.2%
//	 1000        40     39/1625  6.9%  5.3%    31/1715    9%  3.5%    75/2785   11%  4.5%
//
// So 100 events a second of 64 bytes, 50 of 256 or 10 of 1,000 are as much as
// all nodes together should send: about 17 KB a second, encoded. It is what the
// interval of gossip, 50 ms, its fan-out of 3, packets of 1,400 bytes and the
// number of repeats allow; the machine is not the limit.
package cluster
