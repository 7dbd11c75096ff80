package bus

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/runrig-go/runrig/bus/internal/frame"
)

const (
	inlineMax   = 32 << 10 // more is left to the writer
	inlineTurns = 2        // a caller writes at most so often

	writeLimit    = 10 * time.Second // that a write may take, or half of it
	writePart     = 256 << 10        // bytes of one
	writePartLast = 64 << 10         // the same if one that runs out of time ends the link
)

// writeLocked writes until there is nothing left. With turns it writes at most so
// often and only what the kernel takes at once; the writer does the rest. It lets go
// of the lock while it writes.
func (l *link) writeLocked(turns int) {
	l.state = writeRunning
	for i := 0; l.err == nil; i++ {
		l.releaseLocked()
		l.writeRoutesLocked()
		chunk := l.hasChunk()
		if l.empty() && !chunk {
			if l.bulks.ended {
				continue
			}
			break
		}
		if turns > 0 && (i == turns || len(l.first)+l.backlog() > inlineMax || chunk) || !l.writePartLocked(turns > 0) {
			l.state = writeWoken
			l.token()
			return
		}
	}
	l.state = writeIdle
	if l.bye || l.err != nil { // the writer waits for this
		l.token()
	}
}

// writePartLocked writes once. It reports false if it was to be now and the kernel
// does not take all: the rest goes first.
func (l *link) writePartLocked(now bool) bool {
	p := l.nextLocked()
	l.replies = 0
	l.mu.Unlock()
	begin := l.clock.now()
	n, err := l.write(p, begin, now)
	took := begin
	if !now {
		took = l.clock.now()
	}
	l.lastWrite.Store(took)
	l.mu.Lock()
	l.wrote(p, n)
	switch {
	case p.bulk == nil && len(l.bulks.out) > 0:
		l.bulks.pace.other(n)
	case p.bulk != nil && p.bulk.lent:
		l.chunkGoneLocked(p.bulk)
		if l.cut.CompareAndSwap(true, false) {
			l.writeBy = 0
		}
	}
	if !now {
		l.pace.took(n, time.Duration(took-begin))
	}
	if err != nil {
		l.mu.Unlock()
		l.fail(fmt.Errorf("writing: %w", err))
		l.mu.Lock()
	}
	return len(l.rest) == 0
}

// nextLocked returns what is to be written next. Where there is both, frames in
// order and a piece of a large body take turns.
func (l *link) nextLocked() part {
	if l.hasChunk() && len(l.rest) == 0 && (l.bulks.pace.turn || l.backlog() == 0) {
		return l.chunkLocked(l.takeFirst())
	}
	return l.next(l.pace.most, len(l.bulks.out) > 0 && !l.bye)
}

// write writes a part and returns how much of it is written. If it is to be now,
// what the kernel does not take at once is left. Else frames in turn are left where
// the connection takes them slowly, so that others can go before them.
func (l *link) write(p part, begin int64, now bool) (n int, err error) {
	l.extend(begin)
	if now {
		l.now, l.wroteNow = p.b, 0
		err = l.raw.Write(l.tryOnce)
		l.now = nil
		return l.wroteNow, err
	}
	if p.bulk != nil {
		return l.writeChunk(p)
	}
	for _, b := range [2][]byte{p.b, p.after} {
		inTurn := !p.first || n > 0
		for len(b) > 0 {
			k, err := l.conn.Write(b[:min(len(b), l.writePart())])
			b, n = b[k:], n+k
			if err != nil && !l.goesOn(k, err) {
				return n, err
			}
			now := begin
			if len(b) > 0 {
				now = l.clock.now()
				l.extend(now)
			}
			if inTurn && len(b) > paceLeast && now-begin > int64(paceTime) {
				return n, nil
			}
		}
	}
	return n, nil
}

// cutShort has the writer give back the memory that it was lent, whatever the
// connection takes. It writes the rest of the chunk out of a copy. The caller holds
// l.mu, so that the write's deadline is put off again only when that is seen.
func (l *link) cutShort() {
	l.cut.Store(true)
	_ = l.conn.SetWriteDeadline(time.Unix(1, 0))
}

// writeChunk writes a part with a piece of a large body, unless it is cut short.
func (l *link) writeChunk(p part) (n int, err error) {
	defer func() { l.parts, l.vector = [3][]byte{}, nil }()
	pad := frame.AppendPad(l.pad[:0], len(p.b)+len(p.chunk))
	parts := append(l.parts[:0], p.b)
	for chunk := p.chunk; len(chunk) > 0; parts = l.parts[:0] {
		k := min(len(chunk), l.writePart())
		parts = append(parts, chunk[:k])
		if chunk = chunk[k:]; len(chunk) == 0 && len(pad) > 0 {
			parts = append(parts, pad)
		}
		for l.vector = parts; len(l.vector) > 0; {
			if l.cut.Load() {
				return n, nil
			}
			k, err := l.vector.WriteTo(l.conn)
			n += int(k)
			if err != nil && !l.cut.Load() && !l.goesOn(int(k), err) {
				return n, err
			}
			l.extend(l.clock.now())
		}
	}
	return n, nil
}

// writePart returns how many bytes to write at a time.
func (l *link) writePart() int {
	if l.raw == nil {
		return writePartLast
	}
	return writePart
}

// goesOn reports whether a write goes on that has ended after n bytes with an
// error: it was slow, and the connection is not one of TLS, which a write that runs
// out of time spoils.
func (l *link) goesOn(n int, err error) bool {
	return l.raw != nil && n > 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// extend puts off the time by which a write must have ended: a peer that does
// not read for so long is no good, even if it writes.
func (l *link) extend(now int64) {
	if l.writeBy-now < int64(writeLimit/2) {
		l.writeBy = now + int64(writeLimit)
		_ = l.conn.SetWriteDeadline(time.Now().Add(writeLimit))
	}
}
