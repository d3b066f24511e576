package build

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"hookbuild/build/artifact"
	"hookbuild/build/onboard"
	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/test/lab/site"
)

// builtTwice builds r, changes something, and builds it again.
type builtTwice struct {
	*Builder
	Request
	first *Result
	state string
}

func buildOnce(t *testing.T, s *site.Site) *builtTwice {
	t.Helper()
	b := &builtTwice{Builder: newBuilder(t, 2), Request: requestAt(t, s, t.TempDir())}
	b.first = b.build(t)
	b.state = stateOf(t, b.first)
	return b
}

func (b *builtTwice) build(t *testing.T) *Result {
	t.Helper()
	result, err := b.HookOS(t.Context(), b.Request)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func stateOf(t *testing.T, r *Result) string {
	t.Helper()
	state, err := r.State()
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestUnchangedBuildTouchesNothing(t *testing.T) {
	s := site.New(t, nil)
	site.Push(t, s.Host+"/actions/cexec:v1", map[string]string{"bin/cexec": "the action"})
	b := buildOnce(t, s)
	again := b.build(t)
	if stateOf(t, again) != b.state {
		t.Error("the second build wrote files")
	}
	if !reflect.DeepEqual(again.Published, b.first.Published) || !reflect.DeepEqual(again.Size, b.first.Size) {
		t.Errorf("the second build returned\n%+v\nand the first\n%+v", again, b.first)
	}
}

// TestWhatChangedIsBuilt changes one thing after another: a published file, or
// something that a build is made from.
func TestWhatChangedIsBuilt(t *testing.T) {
	s := site.New(t, nil)
	for _, repository := range []string{"/actions/cexec:v1", "/copies/cexec:v1"} {
		site.Push(t, s.Host+repository, map[string]string{"bin/cexec": "the action"})
	}
	initramfsFile := func(b *builtTwice) string { return filepath.Join(b.first.Dir, "initramfs-x86_64") }
	restored := func(t *testing.T, b *builtTwice, name string, damage func(name string)) {
		was, err := digest.OfFile(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		damage(name)
		b.build(t)
		if is, err := digest.OfFile(t.Context(), name); err != nil || is != was {
			t.Errorf("%s is %s (%v), want %s", name, is, err, was)
		}
	}
	for name, test := range map[string]func(t *testing.T, b *builtTwice){
		"a flipped bit under the old time": func(t *testing.T, b *builtTwice) {
			restored(t, b, initramfsFile(b), func(name string) { flipBit(t, name) })
		},
		"a flipped bit in the tarball": func(t *testing.T, b *builtTwice) {
			restored(t, b, b.first.Tarball, func(name string) { flipBit(t, name) })
		},
		"a removed tarball": func(t *testing.T, b *builtTwice) {
			restored(t, b, b.first.Tarball, func(name string) { must(t, os.Remove(name)) })
		},
		"a removed checksums.txt": func(t *testing.T, b *builtTwice) {
			restored(t, b, filepath.Join(b.first.Dir, artifact.ChecksumsFile), func(name string) { must(t, os.Remove(name)) })
		},
		"a user's file": func(t *testing.T, b *builtTwice) {
			site.WriteFile(t, filepath.Join(b.first.Dir, "notes.txt"), "mine")
			b.build(t)
			sums, err := os.ReadFile(filepath.Join(b.first.Dir, artifact.ChecksumsFile))
			if err != nil || !bytes.Contains(sums, []byte("notes.txt")) {
				t.Errorf("checksums.txt is %s (%v)", sums, err)
			}
		},
		"the image": func(t *testing.T, b *builtTwice) {
			site.Push(t, s.Host+"/actions/cexec:v1", map[string]string{"bin/cexec": "another action"})
			if b.build(t); stateOf(t, b.first) == b.state {
				t.Error("the files are the old ones")
			}
		},
		"the image's repository": func(t *testing.T, b *builtTwice) {
			list := slices.Clone(b.Embed.List)
			list[0].Source = s.Host + "/copies/cexec:v1"
			b.Embed = &onboard.Embed{List: list}
			kept, err := digest.OfFile(t.Context(), filepath.Join(b.build(t).Dir, "initramfs-x86_64"))
			must(t, err)
			b.Builder, b.Out = newBuilder(t, 2), t.TempDir()
			fresh, err := digest.OfFile(t.Context(), filepath.Join(b.build(t).Dir, "initramfs-x86_64"))
			if err != nil || kept != fresh {
				t.Errorf("the initramfs is %s with a cache, and %s (%v) without", kept, fresh, err)
			}
		},
		"the compression": func(t *testing.T, b *builtTwice) {
			b.Segment.Compression = initramfs.Gzip
			if b.build(t); stateOf(t, b.first) == b.state {
				t.Error("the files are the old ones")
			}
		},
		"the template": func(t *testing.T, b *builtTwice) {
			b.HookVersion = "9.9"
			if b.build(t); stateOf(t, b.first) == b.state {
				t.Error("the files are the old ones")
			}
		},
		"the limit": func(t *testing.T, b *builtTwice) {
			b.MaxSize = 1
			if _, err := b.HookOS(t.Context(), b.Request); err == nil {
				t.Error("an initramfs larger than the limit is accepted")
			}
		},
		"another directory": func(t *testing.T, b *builtTwice) {
			b.Out = t.TempDir()
			if got := b.build(t); got.Dir == b.first.Dir {
				t.Error("the result is in the old directory")
			}
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, buildOnce(t, s)) })
	}
}

// TestWhatAnotherPublishedIsNotRemembered remembers a build of which another process
// replaced the files, and then removed them.
func TestWhatAnotherPublishedIsNotRemembered(t *testing.T) {
	s := site.New(t, nil)
	site.Push(t, s.Host+"/actions/cexec:v1", map[string]string{"bin/cexec": "the action"})
	b := buildOnce(t, s)
	p := &plan{Request: b.Request}
	must(t, p.fillDefaults())
	key := digest.OfStrings(t.Name(), b.Out)
	forgotten := func() {
		t.Helper()
		must(t, b.remember(p, b.first.Published, key))
		if note, err := b.Cache.Note(publishedKind, key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("remembered %q, %v", note, err)
		}
	}
	b.HookVersion = "9.9"
	b.build(t)
	forgotten()
	must(t, os.RemoveAll(b.Out))
	forgotten()
}

// TestOfflineBuildFromResults builds offline from a cache that has the results of an
// earlier build, and no layer any more.
func TestOfflineBuildFromResults(t *testing.T) {
	s := site.New(t, nil)
	site.Push(t, s.Host+"/actions/cexec:v1", map[string]string{"bin/cexec": "the action"})
	b := &builtTwice{Builder: newBuilder(t, 2), Request: requestAt(t, s, t.TempDir())}
	use := func(dir string, offline bool) {
		store, err := cache.Open(dir, nil)
		must(t, err)
		b.Cache, b.Offline, b.Client = store, offline, oci.NewClient(oci.Options{Cache: store, Jobs: 2, Offline: offline})
	}
	kept := t.TempDir()
	use(kept, false)
	was, err := digest.OfFile(t.Context(), filepath.Join(b.build(t).Dir, "initramfs-x86_64"))
	must(t, err)
	for _, kind := range []string{"layers", aheadKind} {
		must(t, os.RemoveAll(filepath.Join(kept, kind)))
	}
	use(kept, true)
	b.Out = t.TempDir()
	is, err := digest.OfFile(t.Context(), filepath.Join(b.build(t).Dir, "initramfs-x86_64"))
	if err != nil || is != was {
		t.Errorf("the initramfs is %s (%v), want %s", is, err, was)
	}
}

// flipBit changes one bit and keeps the size and the time of modification.
func flipBit(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	must(t, err)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	var one [1]byte
	_, err = f.ReadAt(one[:], info.Size()/2)
	must(t, err)
	one[0] ^= 1
	_, err = f.WriteAt(one[:], info.Size()/2)
	must(t, err)
	must(t, f.Close())
	must(t, os.Chtimes(name, time.Time{}, info.ModTime()))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
