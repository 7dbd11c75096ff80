package cluster

// MessagePack, as far as nodes speak it on gossip streams.

// number reads a number or a boolean. A negative number is a large one.
func (s *said) number() (n uint64) {
	k := s.byte()
	switch {
	case k < 0x80:
		return uint64(k)
	case k == 0xc2 || k == 0xc3: // false, true
		return 0
	case k >= 0xcc && k <= 0xcf: // of 1, 2, 4 or 8 bytes
		return s.bigEndian(1 << (k - 0xcc))
	case k >= 0xd0 && k <= 0xd3: // the same, signed; no node sends a negative one
		size := 1 << (k - 0xd0)
		if n = s.bigEndian(size); n>>(8*size-1) != 0 {
			return 1 << 63
		}
		return n
	}
	s.fail("a number of kind %#x", k)
	return 0
}

// value reads any value, with lists in it to that depth.
func (s *said) value(depth int) {
	s.pay(itemCost)
	switch k := s.byte(); {
	case k < 0x80, k >= 0xe0, k == 0xc0, k == 0xc2, k == 0xc3: // a small number, nil, false, true
	case k < 0x90:
		s.values(2*uint64(k&0x0f), depth)
	case k < 0xa0:
		s.values(uint64(k&0x0f), depth)
	case k < 0xc0:
		s.next(int(k & 0x1f))
	case k >= 0xc4 && k <= 0xc6: // bytes
		s.bytes(1 << (k - 0xc4))
	case k == 0xca, k == 0xcb: // a number with a fraction
		s.next(4 << (k - 0xca))
	case k >= 0xcc && k <= 0xcf:
		s.next(1 << (k - 0xcc))
	case k >= 0xd0 && k <= 0xd3:
		s.next(1 << (k - 0xd0))
	case k >= 0xd9 && k <= 0xdb: // text
		s.bytes(1 << (k - 0xd9))
	case k == 0xdc, k == 0xdd: // a list
		s.values(s.bigEndian(2<<(k-0xdc)), depth)
	case k == 0xde, k == 0xdf: // a map
		s.values(2*s.bigEndian(2<<(k-0xde)), depth)
	default:
		s.fail("a value of kind %#x", k)
	}
}

// bytes reads as many bytes as a number of that size says.
func (s *said) bytes(size int) {
	n := s.bigEndian(size)
	if n > maxStream {
		s.fail("%d bytes", n)
		return
	}
	s.next(int(n))
}

// values reads n values.
func (s *said) values(n uint64, depth int) {
	if depth == 0 {
		s.fail("lists in lists that are too deep")
	}
	for ; n > 0 && s.err == nil; n-- {
		s.value(depth - 1)
	}
}

// fields reads a map whose keys are text. f is told each key and where it is in what
// was read, and reads the value.
func (s *said) fields(f func(key string, at int)) {
	var n uint64
	switch k := s.byte(); {
	case k&0xf0 == 0x80:
		n = uint64(k & 0x0f)
	case k == 0xde, k == 0xdf:
		n = s.bigEndian(2 << (k - 0xde))
	default:
		s.fail("a map of kind %#x", k)
	}
	for ; n > 0 && s.err == nil; n-- {
		if key := s.key(); s.err == nil {
			f(key, len(s.all)-len(key))
		}
	}
}

// each reads a list, or nil for none. f reads each of its values.
func (s *said) each(f func()) {
	var n uint64
	switch k := s.byte(); {
	case k == 0xc0:
	case k&0xf0 == 0x90:
		n = uint64(k & 0x0f)
	case k == 0xdc, k == 0xdd:
		n = s.bigEndian(2 << (k - 0xdc))
	default:
		s.fail("a list of kind %#x", k)
	}
	for ; n > 0 && s.err == nil; n-- {
		f()
	}
}
