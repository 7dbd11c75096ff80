package discovery_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// Types of records and codes of answers (RFC 1035, 3596, 2782).
const (
	typeA, typeAAAA, typeSRV = 1, 28, 33

	noSuchName, serverFailed, noAnswer = 3, 2, -1
)

// zone is what a name server knows: for each name its addresses or services, or a code.
type zone map[string]entry

type entry struct {
	addrs []string
	srv   []service
	code  int
	quiet uint16 // the type of record about which it says nothing
}

type service struct {
	priority, port int
	target         string
}

// nameServer serves z by udp and by tcp, and returns a resolver that asks only it.
func nameServer(t *testing.T, z zone) *net.Resolver {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { z.serveUDP(udp) })
	served.Go(func() { z.serveTCP(tcp, &served) })
	t.Cleanup(func() {
		_ = udp.Close()
		_ = tcp.Close()
		served.Wait()
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		if strings.HasPrefix(network, "tcp") {
			return d.DialContext(ctx, network, tcp.Addr().String())
		}
		return d.DialContext(ctx, network, udp.LocalAddr().String())
	}}
}

func (z zone) serveUDP(c net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		reply := z.answer(buf[:n])
		if len(reply) > 1232 {
			reply = reply[:n]
			reply[2] |= 2 // truncated: ask by tcp
			clear(reply[6:12])
		}
		if reply != nil {
			_, _ = c.WriteTo(reply, from)
		}
	}
}

func (z zone) serveTCP(l net.Listener, served *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		served.Go(func() {
			defer c.Close()
			var size [2]byte
			for {
				if _, err := io.ReadFull(c, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(c, query); err != nil {
					return
				}
				reply := z.answer(query)
				_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
			}
		})
	}
}

// answer makes the reply to a query with one question.
func (z zone) answer(query []byte) []byte {
	var labels []string
	at := 12
	for query[at] != 0 {
		labels = append(labels, string(query[at+1:at+1+int(query[at])]))
		at += 1 + int(query[at])
	}
	at++
	kind := binary.BigEndian.Uint16(query[at:])
	e, ok := z[strings.Join(labels, ".")]
	if !ok {
		e.code = noSuchName
	}
	if e.code == noAnswer || e.quiet == kind {
		return nil
	}
	var records [][]byte
	for _, addr := range e.addrs {
		if ip := netip.MustParseAddr(addr); ip.Is4() && kind == typeA || ip.Is6() && kind == typeAAAA {
			records = append(records, ip.AsSlice())
		}
	}
	for _, s := range e.srv {
		if kind == typeSRV {
			data := binary.BigEndian.AppendUint16(nil, uint16(s.priority))
			data = binary.BigEndian.AppendUint16(data, 0)
			data = binary.BigEndian.AppendUint16(data, uint16(s.port))
			records = append(records, appendName(data, s.target))
		}
	}
	reply := append([]byte{query[0], query[1], 0x81, 0x80 | byte(e.code), 0, 1}, byte(len(records)>>8), byte(len(records)), 0, 0, 0, 0)
	reply = append(reply, query[12:at+4]...)
	for _, data := range records {
		reply = append(reply, 0xc0, 12, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 60)
		reply = append(binary.BigEndian.AppendUint16(reply, uint16(len(data))), data...)
	}
	return reply
}

func appendName(data []byte, name string) []byte {
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label != "" {
			data = append(append(data, byte(len(label))), label...)
		}
	}
	return append(data, 0)
}
