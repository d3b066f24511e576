package oci

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"hookbuild/internal/fault"
)

// Any archive is either refused as invalid, or has an image with a configuration for
// each of its layers, of which none is longer than the archive.
func FuzzSaved(f *testing.F) {
	config, err := imageOf(f, amd64, plainLayer(tarOf(f, "a=1"))).RawConfigFile()
	if err != nil {
		f.Fatal(err)
	}
	layer := "1/layer.tar=" + string(tarOf(f, "a=1"))
	for _, entries := range [][]string{
		{layer, "2/layer.tar -> ../1/layer.tar", "c.json=" + string(config), `manifest.json=[{"Config":"c.json","RepoTags":["image:v1"],"Layers":["2/layer.tar"]}]`},
		{layer, "c.json=" + string(config), `manifest.json=[{"Config":"c.json","RepoTags":null,"Layers":["1/layer.tar"]},{"Config":"../c.json","RepoTags":["image:v1"],"Layers":[]}]`},
		{"manifest.json -> manifest.json"}, {"manifest.json=null"}, {"c.json={}"}, nil,
	} {
		f.Add(tarOf(f, entries...), "")
		f.Add(tarOf(f, entries...), "image:v1")
	}
	f.Fuzz(func(t *testing.T, archive []byte, ref string) {
		open, err := archiveFiles(bytes.NewReader(archive), int64(len(archive)), "fuzz")
		if err != nil {
			return
		}
		s, raw, err := chooseSaved(open, ref, amd64)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind %d: %v", fault.KindOf(err), err)
			}
			return
		}
		if c, err := parseConfig(raw, len(s.Layers)); err != nil || len(c.RootFS.DiffIDs) != len(s.Layers) {
			t.Errorf("%d layers, but the configuration is %s: %v", len(s.Layers), raw, err)
		}
		for _, name := range s.Layers {
			r, err := open(name)
			if err != nil {
				continue
			}
			n, err := io.Copy(io.Discard, r)
			if err := errors.Join(err, r.Close()); err == nil && n > int64(len(archive)) {
				t.Errorf("layer %q has %d bytes of an archive of %d", name, n, len(archive))
			}
		}
	})
}
