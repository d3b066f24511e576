package cache

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// keep stores text as a blob of the kind, last used at the given age before
// now.
func keep(t *testing.T, c *Cache, kind, text string, age time.Duration) v1.Hash {
	t.Helper()
	h, _, err := v1.SHA256(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.PutBlob(t.Context(), kind, h, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), os.Chtimes(f.Path(), time.Now().Add(-age), time.Now().Add(-age))); err != nil {
		t.Fatal(err)
	}
	return h
}

func (c *Cache) has(t *testing.T, kind string, h v1.Hash) bool {
	t.Helper()
	path, err := c.blobPath(kind, h)
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(path)
	return err == nil
}

func TestUsage(t *testing.T) {
	c, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, c, "layers", "0123456789", 48*time.Hour)
	keep(t, c, "layers", "abc", time.Minute)
	keep(t, c, "blobs", "x", 0)
	source := filepath.Join(c.Dir(), "kernel", "source")
	if err := errors.Join(os.MkdirAll(source, 0o755), os.WriteFile(filepath.Join(source, "linux.tar.xz"), make([]byte, 100), 0o644),
		os.WriteFile(filepath.Join(c.Dir(), "layers", tempPrefix+"1"), make([]byte, 1000), 0o644)); err != nil {
		t.Fatal(err)
	}
	got, err := c.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, u := range got {
		lines = append(lines, strings.Join([]string{u.Kind, time.Duration(u.Bytes).String()}, " "))
	}
	if want := "kernel/source 100ns, layers 13ns, blobs 1ns"; strings.Join(lines, ", ") != want {
		t.Errorf("usage %v, want %s", lines, want)
	}
	if idle := time.Since(got[1].Unused); got[1].Files != 2 || idle < 47*time.Hour || time.Since(got[1].Used) > time.Hour {
		t.Errorf("layers: %+v", got[1])
	}
}

func TestPrune(t *testing.T) {
	tests := map[string]struct {
		limits      Limits
		old, middle bool // which stay
	}{
		"nothing asked":    {Limits{}, true, true},
		"by age":           {Limits{Age: 100 * time.Hour}, false, true},
		"by size":          {Limits{Size: 20}, false, true},
		"by a smaller one": {Limits{Size: 5}, false, false},
		"large enough":     {Limits{Size: 30}, true, true},
		"all":              {Limits{All: true}, false, false},
		"only asked":       {Limits{All: true, DryRun: true}, true, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := Open(t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			old := keep(t, c, "layers", "old.......", 200*time.Hour)
			middle := keep(t, c, "layers", "middle....", 50*time.Hour)
			fresh := keep(t, c, "layers", "fresh.....", time.Minute)
			if _, err := c.Prune(t.Context(), test.limits); err != nil {
				t.Fatal(err)
			}
			if got := [...]bool{c.has(t, "layers", old), c.has(t, "layers", middle), c.has(t, "layers", fresh)}; got != [...]bool{test.old, test.middle, true} {
				t.Errorf("old, middle, fresh: %v", got)
			}
		})
	}
}

// What was unpacked of a kit stays whole as long as any of it is used, and goes with its
// directories and links.
func TestPruneTakesTreesAsAWhole(t *testing.T) {
	old := time.Now().Add(-200 * time.Hour)
	for name, test := range map[string]struct {
		use    func(dir string) error
		limits Limits
		stays  bool
	}{
		"unused":         {nil, Limits{Age: 100 * time.Hour}, false},
		"a file is used": {func(dir string) error { return os.Chtimes(filepath.Join(dir, "site/b"), time.Now(), old) }, Limits{Age: 100 * time.Hour}, true},
		"it is marked":   {func(dir string) error { MarkTree(dir); return nil }, Limits{Age: 100 * time.Hour}, true},
		"too large":      {nil, Limits{Size: 1500}, false},
		"only listed":    {nil, Limits{Age: 100 * time.Hour, DryRun: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Open(t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			dir, loaded := filepath.Join(c.Dir(), "kit", "0123"), filepath.Join(c.Dir(), "kit", "loaded")
			err = errors.Join(os.MkdirAll(filepath.Join(dir, "site/empty"), 0o700), os.Symlink("a", filepath.Join(dir, "link")), os.WriteFile(loaded, []byte("0123"), 0o600))
			for _, file := range []string{"site/a", "site/b"} {
				err = errors.Join(err, os.WriteFile(filepath.Join(dir, file), make([]byte, 1000), 0o600))
			}
			for _, path := range []string{"site/a", "site/b", "../loaded", ""} {
				err = errors.Join(err, os.Chtimes(filepath.Join(dir, path), old, old))
			}
			if test.use != nil {
				err = errors.Join(err, test.use(dir))
			}
			if err != nil {
				t.Fatal(err)
			}
			pruned, err := c.Prune(t.Context(), test.limits)
			if err != nil {
				t.Fatal(err)
			}
			left, err := filepath.Glob(filepath.Join(c.Dir(), "kit", "*", "*"))
			if stays := len(left) == 2; stays != test.stays || err != nil || !stays && len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
			want := 0
			if !test.stays || test.limits.DryRun {
				want = 2
			}
			if got := len(pruned.Removed); (got > 0) != (want > 0) || got > 0 && pruned.Removed[0].Files != want {
				t.Errorf("removed is %+v, want %d files", pruned.Removed, want)
			}
			if _, err := os.Stat(loaded); err != nil {
				t.Errorf("the name of the directory is gone: %v", err)
			}
		})
	}
}

// Reading a file counts as use, but not as a change.
// What is used after Prune listed the cache is not removed.
func TestUsedSinceItWasListed(t *testing.T) {
	c, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour)
	tree, file := filepath.Join(c.Dir(), "kit", "0"), filepath.Join(c.Dir(), "downloads", "a")
	for _, path := range []string{filepath.Join(tree, "a.deb"), file} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(tree, old, old); err != nil {
		t.Fatal(err)
	}
	files, err := c.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	units, err := unitsOf(files)
	if err != nil || len(units) != 2 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	MarkTree(tree)
	if err := os.Chtimes(file, time.Now(), old); err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if used, err := u.lastUse(); err != nil || time.Since(u.used) < inUse || time.Since(used) > inUse {
			t.Errorf("%s: used %s, then %s, %v", u.path, u.used, used, err)
		}
	}
}

func TestReadingCountsAsUse(t *testing.T) {
	dir := t.TempDir()
	c, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := keep(t, c, "layers", "content", 200*time.Hour)
	again, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := again.Blob(t.Context(), "layers", h)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	pruned, err := again.Prune(t.Context(), Limits{Age: time.Hour, Size: 1})
	if err != nil || len(pruned.Removed) != 0 || pruned.InUse == 0 {
		t.Errorf("pruned %v, error %v", pruned, err)
	}
}

// A note is read as long as its fact does not change.
func TestReadingANoteCountsAsUse(t *testing.T) {
	c, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-200 * time.Hour)
	for _, key := range []string{"read", "not read"} {
		if err := c.SetNote("tags", key, "value"); err != nil {
			t.Fatal(err)
		}
		path, err := c.notePath("tags", key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetNote("tags", "read", "value"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prune(t.Context(), Limits{Age: 100 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if keys, err := c.Keys("tags"); err != nil || len(keys) != 1 || keys[0] != "read" {
		t.Errorf("the notes %q are left, %v", keys, err)
	}
}

func TestVerify(t *testing.T) {
	c, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	good, bad := keep(t, c, "layers", "good", 0), keep(t, c, "layers", "bad", 0)
	if err := errors.Join(c.SetNote("tags", "a", "1"), c.SetNote("tags", "b", "2")); err != nil {
		t.Fatal(err)
	}
	path, err := c.blobPath("layers", bad)
	if err != nil {
		t.Fatal(err)
	}
	note, err := c.notePath("tags", "b")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, []byte("BAD"), 0o600), os.WriteFile(note, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(c.Dir(), "kit", "0", "site", "a.deb")
	if err := errors.Join(os.MkdirAll(filepath.Dir(other), 0o700), os.WriteFile(other, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	v, err := c.Verify(t.Context())
	if err != nil || v.Checked != 4 || v.Damaged != 2 {
		t.Errorf("%d checked, %d damaged, error %v", v.Checked, v.Damaged, err)
	}
	if len(v.Unchecked) != 1 || v.Unchecked[0].Kind != "kit" || v.Unchecked[0].Files != 1 {
		t.Errorf("the file without a hash is among %v", v.Unchecked)
	}
	if !c.has(t, "layers", good) || c.has(t, "layers", bad) {
		t.Error("the wrong file is gone")
	}
	if _, err := os.Stat(note); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the damaged note: %v", err)
	}
}

// Uses tells what was found from what was added.
func TestUses(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []struct{ reused, added Use }{{Use{}, Use{1, 5}}, {Use{1, 5}, Use{}}} {
		c, err := Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			f, err := c.PutBlob(t.Context(), "layers", digest("hello"), func(w io.Writer) error {
				_, err := io.WriteString(w, "hello")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if reused, added := c.Uses(); reused != want.reused || added != want.added {
			t.Errorf("reused %+v, added %+v, want %+v", reused, added, want)
		}
	}
}
