// Package wire is the form that the frames of a link have on the wire.
package wire
