package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/initramfs"
)

// listing lists a tree in the notation of tarOf.
func listing(t *testing.T, tree *initramfs.Tree) []string {
	t.Helper()
	var lines []string
	for e := range tree.All() {
		switch e.Type {
		case initramfs.Dir:
			lines = append(lines, e.Path+"/")
		case initramfs.Symlink:
			lines = append(lines, e.Path+" -> "+e.Target)
		case initramfs.HardLink:
			lines = append(lines, e.Path+" => "+e.Target)
		case initramfs.Regular:
			lines = append(lines, e.Path+"="+contentOf(t, e))
		default:
			lines = append(lines, fmt.Sprintf("%s %s", e.Path, e.Type))
		}
	}
	return lines
}

func contentOf(t *testing.T, e initramfs.Entry) string {
	t.Helper()
	r, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// flattening is layers in the notation of tarOf and their result. The cases on
// which Docker agrees are checked in TestFlatteningAsDockerDoes.
type flattening struct {
	layers [][]string
	want   []string
}

func flattenings() map[string]flattening {
	return map[string]flattening{
		"whiteout of a file":      {[][]string{{"d/", "d/a=1", "d/b=2"}, {"d/", "d/.wh.a="}}, []string{"d/", "d/b=2"}},
		"whiteout of a directory": {[][]string{{"d/", "d/s/", "d/s/a=1", "d/sa=2"}, {"d/", "d/.wh.s="}}, []string{"d/", "d/sa=2"}},
		"whiteout of nothing":     {[][]string{{"d/", "d/a=1"}, {"d/", "d/.wh.b="}}, []string{"d/", "d/a=1"}},
		"whiteout of a symlink":   {[][]string{{"d/", "d/a=1", "l -> d"}, {".wh.l="}}, []string{"d/", "d/a=1"}},
		"back after a whiteout":   {[][]string{{"d/", "d/a=1"}, {"d/", "d/.wh.a="}, {"d/", "d/a=3"}}, []string{"d/", "d/a=3"}},
		"opaque directory":        {[][]string{{"d/", "d/a=1", "d/s/", "d/s/b=2"}, {"d/", "d/.wh..wh..opq=", "d/c=3"}}, []string{"d/", "d/c=3"}},
		"opaque, said last":       {[][]string{{"d/", "d/a=1"}, {"d/", "d/c=3", "d/.wh..wh..opq="}}, []string{"d/", "d/c=3"}},
		"file over a directory":   {[][]string{{"d/", "d/a=1"}, {"d=now a file"}}, []string{"d=now a file"}},
		"directory over a file":   {[][]string{{"d=file"}, {"d/", "d/a=1"}}, []string{"d/", "d/a=1"}},
		"directory over a symlink": {[][]string{{"usr/", "usr/lib/", "usr/lib/a=1", "lib -> usr/lib"}, {"lib/", "lib/b=2"}},
			[]string{"lib/", "lib/b=2", "usr/", "usr/lib/", "usr/lib/a=1"}},
		"symlink over a directory":     {[][]string{{"d/", "d/a=1", "e/"}, {"d -> e"}}, []string{"d -> e", "e/"}},
		"directories become one":       {[][]string{{"d/", "d/a=1"}, {"d/", "d/b=2"}}, []string{"d/", "d/a=1", "d/b=2"}},
		"hard link in a layer":         {[][]string{{"a=1", "b => a"}, {"c=2"}}, []string{"a=1", "b => a", "c=2"}},
		"hard link, replaced target":   {[][]string{{"a=1", "b => a"}, {"a=2"}}, []string{"a=2", "b=1"}},
		"hard link, deleted target":    {[][]string{{"a=1", "b => a"}, {".wh.a="}}, []string{"b=1"}},
		"hard link, both replaced":     {[][]string{{"a=1", "b => a"}, {"a=2", "b => a"}}, []string{"a=2", "b => a"}},
		"absolute and dangling links":  {[][]string{{"l -> /nowhere", "m -> ../../x"}}, []string{"l -> /nowhere", "m -> ../../x"}},
		"device as overlayfs whiteout": {[][]string{{"d/", "d/a=1"}, {"d/", "d/a!dev"}}, []string{"d/"}},
	}
}

func TestFlattening(t *testing.T) {
	all := flattenings()
	// These cases cannot be checked with Docker: it unpacks each layer alone,
	// and fails or differs when it refers to another part of the image.
	all["parents that the layer does not list"] = flattening{[][]string{{"usr/lib/", "lib -> usr/lib"}, {"lib/b=2"}}, []string{"lib/", "lib/b=2", "usr/", "usr/lib/"}}
	all["hard link to a lower layer's file"] = flattening{[][]string{{"a=1"}, {"b => a"}}, []string{"a=1", "b => a"}}
	all["hard link to a lower layer's hard link"] = flattening{[][]string{{"a=1", "b => a"}, {"c => b"}}, []string{"a=1", "b => a", "c => a"}}
	all["whiteout and file in one layer"] = flattening{[][]string{{"a/", "a/x=1"}, {"a=2", ".wh.a="}}, []string{"a=2"}}
	all["aufs' bookkeeping"] = flattening{[][]string{{"a=1", ".wh..wh.plnk/", ".wh..wh.plnk/12.3=x", ".wh..wh.aufs="}}, []string{"a=1"}}
	all["opaque root"] = flattening{[][]string{{"a=1"}, {".wh..wh..opq=", "b=2"}}, []string{"b=2"}}
	for name, tc := range all {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			var layers []layer
			for _, files := range tc.layers {
				layers = append(layers, plainLayer(tarOf(t, files...)))
			}
			tree, err := l.image(l.push("image:v1", imageOf(t, amd64, layers...)), amd64).Tree(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, listing(t, tree)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFlatteningNamesTheLayer(t *testing.T) {
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64, plainLayer(tarOf(t, "a=1")), plainLayer(tarOf(t, "b=2"))))
	tree, err := l.image(src, amd64).Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := tree.Lookup("b"); b.Origin != "image "+src+", layer 2" {
		t.Errorf("origin %q", b.Origin)
	}
}

func TestLayersThatCannotBeFlattened(t *testing.T) {
	for name, tc := range map[string]struct {
		files []string
		want  string
	}{
		"whiteout of dot-dot":      {[]string{"d/.wh...="}, "d/.wh..."},
		"whiteout of the dot":      {[]string{"d/.wh..="}, "d/.wh.."},
		"whiteout without a name":  {[]string{".wh.="}, ".wh."},
		"hard link to nothing":     {[]string{"a => b"}, `"b" does not exist`},
		"hard link to itself":      {[]string{"a=1", "a => a"}, "itself"},
		"hard link to a directory": {[]string{"d/", "l => d"}, "directory"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			src := l.push("image:v1", imageOf(t, amd64, plainLayer(tarOf(t, tc.files...))))
			_, err := l.image(src, amd64).Tree(context.Background())
			mentions(t, err, src, "layer 1", tc.want)
			if strings.Contains(name, "whiteout") && !errors.Is(err, initramfs.ErrUnsafePath) {
				t.Errorf("got %v", err)
			}
		})
	}
}
