package dashboard_test

import (
	"cmp"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// animate makes one animation of the pictures in a folder, in the order of their names.
func animate(t *testing.T, folder, to string) {
	t.Helper()
	names, err := filepath.Glob(folder + "/*.png")
	if err != nil || len(names) == 0 {
		t.Fatal("no pictures in ", folder, err)
	}
	var pictures []image.Image
	counts := map[color.RGBA]int{}
	for _, name := range names {
		p := readPicture(t, name)
		pictures = append(pictures, p)
		each(p, func(x, y int) { counts[coarse(p.At(x, y))]++ })
	}
	film := gif.GIF{}
	colours := palette(counts)
	nearest := map[color.RGBA]uint8{}
	for _, p := range pictures {
		frame := image.NewPaletted(p.Bounds(), colours)
		each(p, func(x, y int) {
			c := coarse(p.At(x, y))
			at, known := nearest[c]
			if !known {
				at = uint8(colours.Index(c))
				nearest[c] = at
			}
			frame.SetColorIndex(x, y, at)
		})
		film.Image, film.Delay = append(film.Image, frame), append(film.Delay, 35)
	}
	film.Delay[len(film.Delay)-1] = 250
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := gif.EncodeAll(f, &film); err != nil {
		t.Fatal(err)
	}
}

func readPicture(t *testing.T, name string) image.Image {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	p, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func each(p image.Image, f func(x, y int)) {
	b := p.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			f(x, y)
		}
	}
}

// coarse leaves out what nobody sees of a colour.
func coarse(c color.Color) color.RGBA {
	r, g, b, _ := c.RGBA()
	part := func(v uint32) uint8 { return uint8(min(255, (v>>8+2)&^3)) }
	return color.RGBA{part(r), part(g), part(b), 255}
}

// palette is the colours that there are most of.
func palette(counts map[color.RGBA]int) (all color.Palette) {
	by := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(int(a.R)<<16|int(a.G)<<8|int(a.B), int(b.R)<<16|int(b.G)<<8|int(b.B)))
	})
	for _, c := range by[:min(len(by), 256)] {
		all = append(all, c)
	}
	return all
}
