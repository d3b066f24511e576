package embed

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/initramfs"
)

// entries parses a layer's tar in shorthand, one member per word: "d/" is a
// directory, "a" a file, "l=a" a hard link, "l>a" a symlink.
func entries(shorthand string) []initramfs.Entry {
	var list []initramfs.Entry
	for word := range strings.FieldsSeq(shorthand) {
		e := initramfs.Entry{Path: word, Mode: 0o644, ModTime: time.Unix(int64(len(list)+1), 0)}
		if at, target, ok := strings.Cut(word, "="); ok {
			e.Path, e.Target, e.Type = at, target, initramfs.HardLink
		} else if at, target, ok := strings.Cut(word, ">"); ok {
			e.Path, e.Target, e.Type = at, target, initramfs.Symlink
		} else if strings.HasSuffix(word, "/") {
			e.Path, e.Type, e.Mode = strings.TrimSuffix(word, "/"), initramfs.Dir, 0o755
		}
		list = append(list, e)
	}
	return list
}

// show returns a diff directory in a similar shorthand: "d!/" is opaque, "a-" a
// whiteout.
func show(d *overlayDiff) string {
	var words []string
	for e := range d.files.All() {
		switch {
		case isWhiteout(e):
			words = append(words, e.Path+"-")
		case e.Type == initramfs.Dir && isOpaque(e):
			words = append(words, e.Path+"!/")
		case e.Type == initramfs.Dir:
			words = append(words, e.Path+"/")
		case e.Type == initramfs.HardLink:
			words = append(words, e.Path+"="+e.Target)
		case e.Type == initramfs.Symlink:
			words = append(words, e.Path+">"+e.Target)
		default:
			words = append(words, e.Path)
		}
	}
	return strings.Join(words, " ")
}

func TestOverlayDiff(t *testing.T) {
	for given, want := range map[string]string{
		"d/ d/a":                      "d/ d/a",
		"d/a":                         "d/ d/a",
		".wh.a d/ d/.wh.b":            "a- d/ d/b-",
		"d/.wh..wh..opq":              "d!/",
		"d/.wh..wh..opq d/ d/a":       "d!/ d/a",
		"d/ d/a d/.wh..wh..opq":       "d!/ d/a",
		".wh..wh..opq a":              "a",
		".wh..wh.plnk .wh..wh.aufs a": "a",
		".wh.a a":                     "a",
		".wh.a a/ a/b":                "a/ a/b",
		"a/ a/b a":                    "a",
		"a a/ a/b":                    "a/ a/b",
		"a b=a c=b":                   "a b=a c=a",
		"a b=a a":                     "a b",
		"a b=a c=a a":                 "a b c=b",
		"a b=a a=b":                   "a=b b",
		"a a=a":                       "a",
		"l>usr l/":                    "l/",
		"d/.wh..wh..opq d":            "d",
		"a>x b=a":                     "a>x b=a",
	} {
		d, err := newOverlayDiff(entries(given))
		if err != nil {
			t.Errorf("%s: %v", given, err)
			continue
		}
		if got := show(d); got != want {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
	}
}

func TestOverlayDiffRefuses(t *testing.T) {
	for _, given := range []string{".wh.", ".wh...", "d/.wh..", "b=a", "a .wh.a", "d/ b=d", "a a/b"} {
		if d, err := newOverlayDiff(entries(given)); err == nil {
			t.Errorf("%s: got %q, want an error", given, show(d))
		}
	}
}

// dockerd sets owner, mode and time with every name of a file.
func TestHardLinkTakesAttributes(t *testing.T) {
	list := entries("a b=a c=a")
	list[1].Mode, list[1].UID = 0o4755, 7
	list[2].Mode, list[2].UID = 0o600, 8
	d, err := newOverlayDiff(list)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := d.files.Lookup("a")
	if a.Mode != 0o600 || a.UID != 8 || a.ModTime.Unix() != 3 {
		t.Errorf("the file has mode %o, uid %d, time %v; want the last link's", a.Mode, a.UID, a.ModTime)
	}
	if names := d.files.Names("a"); !slices.Equal(names, []string{"b", "c"}) {
		t.Errorf("the links are %q", names)
	}
}

// stack returns layers of the shorthands, lowest first.
func stack(t *testing.T, shorthands ...string) []*layer {
	t.Helper()
	var layers []*layer
	var parent *layer
	for i, s := range shorthands {
		d, err := newOverlayDiff(entries(s))
		if err != nil {
			t.Fatal(err)
		}
		parent = &layer{diff: d, parent: parent, origin: fmt.Sprintf("layer %d", i+1)}
		layers = append(layers, parent)
	}
	return layers
}

func TestSpellOut(t *testing.T) {
	for title, test := range map[string]struct {
		layers []string
		want   string // the topmost layer
	}{
		"nothing below":              {[]string{"x", "d/.wh..wh..opq d/a"}, "d/ d/a"},
		"files below":                {[]string{"d/a d/b d/c", "d/.wh..wh..opq d/b"}, "d/ d/a- d/b d/c-"},
		"a directory in both":        {[]string{"d/s/a d/s/b d/t/c", "d/.wh..wh..opq d/s/b d/s/n"}, "d/ d/s/ d/s/a- d/s/b d/s/n d/t-"},
		"a file in place of one":     {[]string{"d/s/a", "d/.wh..wh..opq d/s"}, "d/ d/s"},
		"a directory over a file":    {[]string{"d/s", "d/.wh..wh..opq d/s/x"}, "d/ d/s/ d/s/x"},
		"over a file":                {[]string{"d", "d/.wh..wh..opq d/x"}, "d/ d/x"},
		"whited out in between":      {[]string{"d/a d/b", "d/.wh.a", "d/.wh..wh..opq"}, "d/ d/b-"},
		"the parent whited out":      {[]string{"p/d/a", ".wh.p", "p/d/.wh..wh..opq"}, "p/ p/d/"},
		"opaque in between":          {[]string{"d/a", "d/.wh..wh..opq d/b", "d/.wh..wh..opq d/c"}, "d/ d/b- d/c"},
		"opaque within opaque":       {[]string{"d/s/a d/t", "d/.wh..wh..opq d/s/.wh..wh..opq d/s/b"}, "d/ d/s/ d/s/a- d/s/b d/t-"},
		"an own whiteout stays":      {[]string{"d/a", "d/.wh..wh..opq d/.wh.a"}, "d/ d/a-"},
		"not opaque":                 {[]string{"d/a", "d/b"}, "d/ d/b"},
		"the root":                   {[]string{"a b/c", ".wh..wh..opq b/d"}, "b/ b/d"},
		"a symlink is not followed":  {[]string{"r/a l>r", "l/.wh..wh..opq l/b"}, "l/ l/b"},
		"a replaced directory below": {[]string{"d/s/a", "d/s", "d/.wh..wh..opq"}, "d/ d/s-"},
	} {
		t.Run(title, func(t *testing.T) {
			layers := stack(t, test.layers...)
			top := layers[len(layers)-1]
			before := show(top.diff)
			d, err := spellOut(top)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(d); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if diff := cmp.Diff(before, show(top.diff)); diff != "" {
				t.Errorf("the layer itself was changed: %s", diff)
			}
		})
	}
}
