package survey

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"hookbuild/embed"
	"hookbuild/internal/words"
	"hookbuild/kernel"
)

//go:embed page.html
var pageText string

// page is the data for the template.
type page struct {
	*System
	Title                string
	Diff                 *Diff
	Tiles                []tile
	Parts                []legend
	Images               []pageImage
	Unpacked, RAM, Least string
	Devices              int
	Map                  *node
	Top                  []*node
	Store                string
}

type tile struct{ Value, Label string }

type legend struct{ Class, Label, Size string }

type pageImage struct {
	Image
	Percent int // of the largest
	Text    string
}

// WritePage writes an HTML page that shows the system and, unless d is nil, what
// changed. The page loads nothing from elsewhere.
func WritePage(w io.Writer, s *System, d *Diff) error {
	parsed, err := template.New("page").Funcs(template.FuncMap{
		"bytes": words.Bytes,
		"join":  func(list []string) string { return strings.Join(list, ", ") },
		"state": stateClass,
		"titled": func(title string, n Names) any {
			return struct {
				Title string
				Names Names
			}{title, n}
		},
	}).Parse(pageText)
	if err != nil {
		return err
	}
	if err := parsed.Execute(w, newPage(s, d)); err != nil {
		return fmt.Errorf("writing the page about %q: %w", s.Name, err)
	}
	return nil
}

func newPage(s *System, d *Diff) *page {
	p := &page{System: s, Title: "HookOS: " + s.Name, Diff: d, RAM: words.Bytes(s.Memory.Unpacked), Least: words.Bytes(s.Memory.Least), Store: embed.StorePath}
	for _, c := range s.Drivers {
		p.Devices += len(c.Devices)
	}
	if s.HasTree {
		p.Map = s.treemap()
		p.Unpacked, p.Top = words.Bytes(p.Map.Size), p.Map.Children
		p.Parts = s.legends()
	}
	var largest int64 = 1
	for _, image := range s.Images {
		largest = max(largest, image.Size)
	}
	for _, image := range s.Images {
		p.Images = append(p.Images, pageImage{image, int(image.Size * 100 / largest), words.Bytes(image.Size)})
	}
	p.Tiles = s.tiles()
	return p
}

func (s *System) tiles() []tile {
	var tiles []tile
	if s.Kernel != nil {
		tiles = append(tiles, tile{words.Bytes(s.Kernel.Size), "kernel"})
	}
	if s.HasTree {
		tiles = append(tiles,
			tile{words.Bytes(s.Memory.Compressed), "initramfs"},
			tile{words.Bytes(s.Memory.Least), "RAM to boot, about"},
			tile{fmt.Sprint(len(s.Images)), "embedded images"},
			tile{fmt.Sprint(len(s.firmware())), "firmware files"})
	}
	if s.Catalog != nil {
		tiles = append(tiles, tile{fmt.Sprint(len(s.Catalog.Modules)), "modules"})
	}
	return tiles
}

func (s *System) legends() []legend {
	sizes := s.sizes()
	var list []legend
	for _, l := range []struct {
		of           part
		class, label string
	}{
		{ofContainers, "containers", "LinuxKit's containers"}, {ofSystem, "system", "system"}, {ofModules, "modules", "kernel modules"},
		{ofFirmware, "firmware", "firmware"}, {ofImages, "images", "embedded images"},
	} {
		if sizes[l.of] > 0 {
			list = append(list, legend{l.class, l.label, words.Bytes(sizes[l.of])})
		}
	}
	return list
}

func stateClass(s kernel.State) string {
	switch s {
	case kernel.BuiltIn, kernel.Module:
		return "good"
	case kernel.Missing:
		return "bad"
	}
	return "warn"
}
