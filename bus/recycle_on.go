//go:build !race

package bus

const recycling = true
