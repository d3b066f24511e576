package expect

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocumentsKeepAnyBytes(t *testing.T) {
	d := &Document{Image: "x", Files: []File{{Path: "caf\xe9\n\"\\\u202e", Type: Symlink, Target: "\xff"}}, Deleted: []Name{"a\tb"}, Opaque: []Name{""}}
	var text bytes.Buffer
	if err := d.Write(&text); err != nil {
		t.Fatal(err)
	}
	back, err := Read(&text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, back); diff != "" {
		t.Error(diff)
	}
}

// tree makes a small file system and its description.
func tree(t *testing.T) (string, *Document) {
	t.Helper()
	root := t.TempDir()
	path := func(name string) string { return filepath.Join(root, name) }
	for _, err := range []error{
		os.Mkdir(path("d"), 0o755), os.WriteFile(path("d/a"), []byte("content"), 0o644), os.Link(path("d/a"), path("d/b")),
		os.WriteFile(path("d/c"), []byte("content"), 0o644), os.Symlink("a", path("d/l")), os.Chmod(path("d/c"), 0o755|os.ModeSetuid),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	sum := sha256.Sum256([]byte("content"))
	file := File{Path: "d/a", Type: Regular, Mode: 0o644, UID: uid, GID: gid, Size: 7, SHA256: hex.EncodeToString(sum[:])}
	same, other := file, file
	same.Path, same.SameAs = "d/b", "d/a"
	other.Path, other.Mode = "d/c", 0o4755
	return root, &Document{Files: []File{
		{Path: "d", Type: Directory, Mode: 0o755, UID: uid, GID: gid}, file, same, other,
		{Path: "d/l", Type: Symlink, Mode: 0o777, UID: uid, GID: gid, Target: "a"},
	}}
}

// TestCheckFindsEveryDifference changes one thing at a time.
func TestCheckFindsEveryDifference(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(root string, d *Document) error
		want   string
	}{
		"nothing":    {func(string, *Document) error { return nil }, ""},
		"missing":    {func(root string, _ *Document) error { return os.Remove(root + "/d/c") }, `"d/c" is missing`},
		"extra":      {func(root string, _ *Document) error { return os.Mkdir(root+"/d/x", 0o755) }, `"d/x" should not be there`},
		"mode":       {func(root string, _ *Document) error { return os.Chmod(root+"/d/c", 0o755) }, "mode 0755, not 4755"},
		"content":    {func(root string, _ *Document) error { return os.WriteFile(root+"/d/c", []byte("CONTENT"), 0o644) }, "holds other bytes"},
		"size":       {func(root string, _ *Document) error { return os.Truncate(root+"/d/c", 3) }, "3 bytes, not 7"},
		"type":       {func(_ string, d *Document) error { d.Files[3].Type = Fifo; return nil }, "is a file, not a fifo"},
		"owner":      {func(_ string, d *Document) error { d.Files[3].GID += 5; return nil }, "belongs to"},
		"target":     {func(_ string, d *Document) error { d.Files[4].Target = "b"; return nil }, `points to "a", not "b"`},
		"unlinked":   {func(_ string, d *Document) error { d.Files[2].SameAs = "d/c"; return nil }, `is no hard link to "d/c"`},
		"linked":     {func(_ string, d *Document) error { d.Files[2].SameAs = ""; return nil }, `shares its inode with "d/a"`},
		"capability": {func(_ string, d *Document) error { d.Files[1].Capability = []byte{1}; return nil }, "capability"},
		"skipped":    {func(root string, _ *Document) error { return os.Mkdir(root+"/proc", 0o755) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root, d := tree(t)
			if err := tt.change(root, d); err != nil {
				t.Fatal(err)
			}
			problems, err := Check(root, d, Options{Skip: Container()})
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(problems, "\n")
			if (all == "") != (tt.want == "") || !strings.Contains(all, tt.want) {
				t.Errorf("got %q, want %q", all, tt.want)
			}
		})
	}
}

func TestCheckTimes(t *testing.T) {
	root, d := tree(t)
	for times, want := range map[Times]int{NoTimes: 0, Seconds: 4, Nanoseconds: 5} {
		problems, err := Check(root, d, Options{Times: times})
		if err != nil {
			t.Fatal(err)
		}
		if len(problems) != want {
			t.Errorf("%d: %d problems, want %d: %q", times, len(problems), want, problems)
		}
	}
}
