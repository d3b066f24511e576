package linuxkit

import (
	"fmt"
	"maps"
	"slices"
)

// References returns the images that assembling d with o loads, by their long
// references, sorted.
func (d *Document) References(o Options) []string {
	return slices.Sorted(maps.Keys(d.wantedImages(o)))
}

// Sources maps the path of each of the document's files with a `source:` to the
// path that assembling d with o reads. It omits optional files that do not exist.
func (d *Document) Sources(o Options) (map[string]string, error) {
	paths := map[string]string{}
	for _, f := range d.Files {
		if f.Source == "" {
			continue
		}
		name, info, err := o.findSource(f)
		if err != nil {
			return nil, fmt.Errorf("file %q (%s): %w", f.Path, place(f.Line, f.from), err)
		}
		if info != nil {
			paths[f.Path] = name
		}
	}
	return paths, nil
}
