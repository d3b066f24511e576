package linuxkit

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// References lists the images that assembling d with o loads, by their long
// references, sorted.
func (d *Document) References(o Options) []string {
	return slices.Sorted(maps.Keys(d.wantedImages(o)))
}

// Sources maps each `source:` of the document's files to the path that
// assembling d with o reads; optional ones that do not exist are left out.
func (d *Document) Sources(o Options) (map[string]string, error) {
	paths := map[string]string{}
	for _, f := range d.Files {
		if f.Source == "" {
			continue
		}
		path, err := o.sourcePath(f.Source)
		if err != nil {
			return nil, err
		}
		_, err = os.Stat(path)
		if f.Optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, invalid("reading the source of the file %q (line %d): %w; create it, or set optional: true", f.Path, f.Line, err)
		}
		paths[f.Source] = path
	}
	return paths, nil
}
