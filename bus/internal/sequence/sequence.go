// Package sequence has sequences that never change, and share with those that are made
// of them all but what is different.
package sequence

import (
	"iter"
	"slices"
)

// LeafSize is how many items are kept side by side.
const (
	LeafSize = 1 << leafBits
	leafBits = 5
)

// Of is a sequence that never changes, so reading one takes no lock. To make one with
// an item more, or one less, costs little, however many there are.
type Of[T any] struct {
	size   int
	height int // of top; 0: it is a leaf
	top    *branch[T]
}

// branch is a leaf, or the way to up to as many branches.
type branch[T any] struct {
	leaf []T
	kids []*branch[T]
}

// New returns a sequence of items, which it keeps.
func New[T any](items []T) Of[T] {
	s := Of[T]{size: len(items)}
	var row []*branch[T]
	for part := range slices.Chunk(items, LeafSize) {
		row = append(row, &branch[T]{leaf: part})
	}
	for ; len(row) > 1; s.height++ {
		var up []*branch[T]
		for part := range slices.Chunk(row, LeafSize) {
			up = append(up, &branch[T]{kids: part})
		}
		row = up
	}
	if len(row) > 0 {
		s.top = row[0]
	}
	return s
}

// Len returns how many items there are.
func (s *Of[T]) Len() int { return s.size }

// Leaves returns how many leaves there are.
func (s *Of[T]) Leaves() int { return (s.size + LeafSize - 1) / LeafSize }

// Leaf returns the items of leaf number i, LeafSize of them but for the last one.
func (s *Of[T]) Leaf(i int) []T {
	b := s.top
	for h := s.height; h > 0; h-- {
		b = b.kids[i>>(leafBits*(h-1))%LeafSize]
	}
	return b.leaf
}

// At returns item number i.
func (s *Of[T]) At(i int) T { return s.Leaf(i / LeafSize)[i%LeafSize] }

// Parts yields the items, a leaf at a time.
func (s *Of[T]) Parts() iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for i := range s.Leaves() {
			if !yield(s.Leaf(i)) {
				return
			}
		}
	}
}

// With returns the sequence with one more at its end.
func (s Of[T]) With(item T) Of[T] {
	if s.size == LeafSize<<(leafBits*s.height) { // all is full
		s.top = &branch[T]{kids: []*branch[T]{s.top}}
		s.height++
	}
	return Of[T]{s.size + 1, s.height, s.top.put(s.size, s.height, item)}
}

// Without returns the sequence without item number i, in whose place the last one is.
func (s Of[T]) Without(i int) Of[T] {
	if last := s.size - 1; last != i {
		s.top = s.top.put(i, s.height, s.At(last))
	}
	s.size--
	s.top = s.top.cut(s.size, s.height)
	for s.height > 0 && len(s.top.kids) == 1 {
		s.top = s.top.kids[0]
		s.height--
	}
	return s
}

// put returns the branch, which may be nil, with an item in a place, which may be
// one more.
func (b *branch[T]) put(i, height int, item T) *branch[T] {
	n := new(branch[T])
	if b != nil {
		*n = *b
	}
	if height == 0 {
		n.leaf = putAt(n.leaf, i%LeafSize, item)
		return n
	}
	k := i >> (leafBits * height) % LeafSize
	var kid *branch[T]
	if k < len(n.kids) {
		kid = n.kids[k]
	}
	n.kids = putAt(n.kids, k, kid.put(i, height-1, item))
	return n
}

// putAt returns a copy of s with v in a place, which may be one more.
func putAt[T any](s []T, i int, v T) []T {
	c := make([]T, max(len(s), i+1))
	copy(c, s)
	c[i] = v
	return c
}

// cut returns the branch without its last place, which is i; nil if it had no
// other.
func (b *branch[T]) cut(i, height int) *branch[T] {
	if height == 0 {
		if i %= LeafSize; i == 0 {
			return nil
		}
		return &branch[T]{leaf: slices.Clone(b.leaf[:i])}
	}
	k := i >> (leafBits * height) % LeafSize
	kid := b.kids[k].cut(i, height-1)
	switch {
	case kid != nil:
		return &branch[T]{kids: putAt(b.kids, k, kid)}
	case k == 0:
		return nil
	}
	return &branch[T]{kids: slices.Clone(b.kids[:k])}
}
