package initramfs_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"
)

// TestLoadWanted compares a tree of which only some contents are kept with the
// complete one.
func TestLoadWanted(t *testing.T) {
	tree := &initramfs.Tree{}
	for _, e := range []initramfs.Entry{
		initramfs.BytesFile("lib/modules/1/modules.builtin", []byte("kernel/a.ko\n"), initramfs.Epoch()),
		{Path: "lib/link", Type: initramfs.Symlink, Mode: 0o777, Target: "modules", ModTime: initramfs.Epoch()},
		initramfs.BytesFile("bin/large", bytes.Repeat([]byte("large"), 100000), initramfs.Epoch()),
		initramfs.BytesFile("bin/empty", nil, initramfs.Epoch()),
		initramfs.BytesFile("zeta/modules.builtin", []byte("after the others"), initramfs.Epoch()),
	} {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	if err := initramfs.WriteSegment(t.Context(), &packed, tree, initramfs.SegmentOptions{Compression: initramfs.Zstd}); err != nil {
		t.Fatal(err)
	}
	load := func(wanted func(initramfs.Entry) bool) (*initramfs.Tree, *os.File) {
		spool, err := os.Create(filepath.Join(t.TempDir(), "spool"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { spool.Close() })
		f, err := initramfs.Load(t.Context(), bytes.NewReader(packed.Bytes()), spool, "test", initramfs.Limits{}, wanted)
		if err != nil {
			t.Fatal(err)
		}
		return f.Tree, spool
	}
	whole, _ := load(nil)
	some, spool := load(func(e initramfs.Entry) bool { return strings.HasSuffix(e.Path, "modules.builtin") })
	for want := range whole.All() {
		got, ok := some.Lookup(want.Path)
		if !ok || got.Size != want.Size || got.Type != want.Type || (got.Open == nil) != (want.Open == nil) {
			t.Errorf("%q is %+v, want %+v", want.Path, got, want)
		}
	}
	for name, want := range map[string]string{"lib/modules/1/modules.builtin": "kernel/a.ko\n", "zeta/modules.builtin": "after the others"} {
		e, _ := some.Lookup(name)
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(r); string(content) != want || err != nil {
			t.Errorf("%q holds %q, want %q; %v", name, content, want, err)
		}
	}
	if large, _ := some.Lookup("bin/large"); large.Open == nil {
		t.Error("bin/large seems to be empty")
	} else if _, err := large.Open(); err == nil {
		t.Error("bin/large can be opened, though it was not wanted")
	}
	if info, err := spool.Stat(); err != nil || info.Size() > 1000 {
		t.Errorf("the spool has %d bytes; %v", info.Size(), err)
	}
}
