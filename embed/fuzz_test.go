package embed

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
	"testing"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// Whatever a layer's tar lists, it is rejected or becomes a directory without a
// whiteout in AUFS's form and without a dangling hard link, which looks the
// same when its opaque directories are expressed as whiteouts over nothing.
func FuzzOverlayDiff(f *testing.F) {
	for _, s := range []string{"a b=a .wh.c d/.wh..wh..opq", "a/ a .wh.a a/b", ".wh..wh..opq .wh..wh.x", "a=b b", "a>b b/ a/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, shorthand string) {
		layerEntries := entries(shorthand)
		for _, e := range layerEntries {
			if clean, err := initramfs.CleanPath(e.Path); err != nil || clean != e.Path {
				return // not a valid path of an [initramfs.Entry]
			}
		}
		d, err := newOverlayDiff(layerEntries)
		if err != nil {
			return
		}
		for e := range d.files.All() {
			if strings.HasPrefix(path.Base(e.Path), whiteoutPrefix) && e.Type != initramfs.Dir {
				t.Errorf("%q is left", e.Path)
			}
			if _, there := d.files.Lookup(e.Target); e.Type == initramfs.HardLink && !there {
				t.Errorf("%q links to %q, which does not exist", e.Path, e.Target)
			}
		}
		spelled, err := spellOut(&layer{diff: d})
		if err != nil {
			t.Fatal(err)
		}
		for e := range d.files.All() {
			if got, there := spelled.files.Lookup(e.Path); !there || got.Type != e.Type || isOpaque(got) {
				t.Errorf("spelled out, %q is %v %v", e.Path, there, got)
			}
		}
		if spelled.files.Len() != d.files.Len() {
			t.Errorf("spelled out there are %d files instead of %d", spelled.files.Len(), d.files.Len())
		}
	})
}

// A store from elsewhere may contain anything: it is rejected with a fault of
// the right kind, or works.
func FuzzOpen(f *testing.F) {
	config := `{"rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("a", 64) + `"]}}`
	split := `{"type":2,"payload":"eA==","position":0}`
	f.Add(`{"Repositories":{"a":{"a:b":"sha256:c"}}}`, config, "sha256:"+strings.Repeat("a", 64), "../x", "1", split)
	f.Fuzz(func(t *testing.T, names, config, diff, cacheID, size, split string) {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write([]byte(split)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(config))
		id := hex.EncodeToString(sum[:])
		layer := layerDB + "/sha256/" + strings.Repeat("a", 64) + "/"
		tree := &initramfs.Tree{}
		for name, content := range map[string]string{
			imageDir + "/repositories.json":      names,
			imageDB + "/content/sha256/" + id:    config,
			layer + "diff":                       diff,
			layer + "cache-id":                   cacheID,
			layer + "size":                       size,
			layer + "tar-split.json.gz":          packed.String(),
			graphDir + "/x/diff/etc/passwd":      "root",
			graphDir + "/x/diff/latin1-\xe9/old": "x",
		} {
			if err := tree.Add(initramfs.BytesFile(StorePath+"/"+name, []byte(content), initramfs.Epoch())); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(tree, nil)
		if err == nil {
			s.Images()
			err = s.Verify(t.Context())
		}
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("an error of kind %d: %v", fault.KindOf(err), err)
		}
	})
}
