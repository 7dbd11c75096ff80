package cluster

import "net"

// peeked gives back the byte that was read to tell what a stream is.
type peeked struct {
	net.Conn
	first byte
	read  bool
}

// Read returns the first byte alone, then reads on.
func (p *peeked) Read(b []byte) (int, error) {
	if p.read || len(b) == 0 {
		return p.Conn.Read(b)
	}
	p.read = true
	b[0] = p.first
	return 1, nil
}

// counted gives a place back when it is closed.
type counted struct {
	net.Conn
	free func()
}

// Close closes the stream.
func (c *counted) Close() error {
	defer c.free()
	return c.Conn.Close()
}
