package embed

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/test/testneed"
)

func TestBootScriptIsClean(t *testing.T) {
	cmd := exec.Command(testneed.Tool(t, "shellcheck"), "--shell=sh", "--enable=all", "--exclude=SC2250,SC2310,SC2312", "images-mount.sh")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Names that trip shells, line-based lists and formats with short fields.
var hostileNames = []string{
	" leading and trailing ", "new\nline", "-n", "--", "tab\tquote'\"`", "$(reboot)", "*", "back\\slash", "grüße-日本語",
	"latin1-\xe9", strings.Repeat("n", 255), "deep/" + strings.Repeat("long-directory-name/", 20) + "file",
}

// everything returns a layer with everything that booting breaks.
func everything() []initramfs.Entry {
	day := func(n int64) time.Time { return time.Unix(n*86400, 0) }
	file := func(name, content string, mode uint32) initramfs.Entry {
		e := initramfs.BytesFile(name, []byte(content), day(1))
		e.Mode = mode
		return e
	}
	owned := file("bin/su", "setuid", 0o6755)
	owned.UID, owned.GID = 12, 3_000_000
	list := []initramfs.Entry{
		{Path: "bin", Type: initramfs.Dir, Mode: 0o755, ModTime: day(2)},
		owned,
		file("bin/sh", "shell", 0o755),
		{Path: "bin/ash", Type: initramfs.HardLink, Target: "bin/sh", Mode: 0o755, ModTime: day(1)},
		{Path: "aaa", Type: initramfs.HardLink, Target: "bin/sh", Mode: 0o755, ModTime: day(1)},
		{Path: "bin/dangling", Type: initramfs.Symlink, Target: "/no/where", Mode: 0o777, ModTime: day(3), UID: 5},
		{Path: "bin/link-to-link", Type: initramfs.HardLink, Target: "bin/dangling", Mode: 0o777, ModTime: day(3), UID: 5},
		{Path: "tmp", Type: initramfs.Dir, Mode: 0o1777, ModTime: day(4)},
		{Path: "shared", Type: initramfs.Dir, Mode: 0o2775, GID: 50, ModTime: day(5)},
		{Path: "shared/pipe", Type: initramfs.Fifo, Mode: 0o622, ModTime: day(6)},
		{Path: "dev/null", Type: initramfs.CharDevice, Mode: 0o666, Major: 1, Minor: 3, ModTime: day(7)},
		{Path: "dev/loop", Type: initramfs.BlockDevice, Mode: 0o660, Major: 259, Minor: 70_000, GID: 6, ModTime: day(8)},
		{Path: "dev/loop-again", Type: initramfs.HardLink, Target: "dev/loop", Mode: 0o660, GID: 6, ModTime: day(8)},
		{Path: "before-1970", Type: initramfs.Dir, Mode: 0o700, ModTime: day(-1)},
		{Path: "in-2100", Type: initramfs.Dir, Mode: 0o500, ModTime: time.Date(2100, 1, 1, 0, 0, 0, 5, time.UTC)},
		{Path: "etc/.wh.gone", Type: initramfs.Regular, UID: 9},
		{Path: "etc/.wh..wh..opq", Type: initramfs.Regular},
		file("empty", "", 0o644),
	}
	for i, name := range hostileNames {
		list = append(list,
			initramfs.Entry{Path: "odd/" + name, Type: initramfs.Dir, Mode: 0o755, ModTime: day(int64(100 + i))},
			file("odd/"+name+"/file", name, 0o644),
			initramfs.Entry{Path: "odd/" + name + "/.wh.gone", Type: initramfs.Regular},
			initramfs.Entry{Path: "odd/" + name + "/link", Type: initramfs.HardLink, Target: "odd/" + name + "/file", Mode: 0o644, ModTime: day(1)},
		)
	}
	return list
}

// storeOf returns a store of layers that come from no image, lowest first.
func storeOf(t *testing.T, layers ...[]initramfs.Entry) *store {
	t.Helper()
	c := newCache(t)
	s := &store{names: newNameTable()}
	var parent *layer
	for i, list := range layers {
		diffID := hashOf(string(rune('a' + i)))
		l := &layer{src: &oci.Layer{DiffID: diffID}, chain: chainID(parent, diffID), parent: parent, origin: "a test"}
		var err error
		if l.diff, err = newOverlayDiff(list); err != nil {
			t.Fatal(err)
		}
		l.tarSplit, _, err = c.Derived(context.Background(), "tar-split", derivedKey(diffID.String()), func(w io.Writer) error {
			_, err := io.Copy(w, bytes.NewReader([]byte("{}")))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s.layers.all, parent = append(s.layers.all, l), l
	}
	return s
}

func (s *store) withScript(t *testing.T) *initramfs.Tree {
	t.Helper()
	tree, err := s.directory(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Add(script()); err != nil {
		t.Fatal(err)
	}
	return tree
}

// The diff directory of a booted machine is compared with the same files
// created directly, as a lossless unpacker would.
func TestDirectoryLayoutSurvivesBooting(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	lower := entries("etc/ etc/a etc/b etc/gone odd/ bin/ bin/old")
	s := storeOf(t, lower, everything())
	m := boot(t, s.withScript(t))
	top := s.layers.all[1]
	want := t.TempDir()
	unpackExactly(t, want, top)
	if m.differs(t, want, StorePath, top) == "" {
		t.Error("booting has broken nothing: this test proves nothing")
	}
	if said := m.startUp(t); said != "embedded images: 0 in /run/images\n" {
		t.Errorf("the boot script said %q", said)
	}
	if diff := m.differs(t, want, "run/images", top); diff != "" {
		t.Errorf("layer %s: %s", top.chain, diff)
	}
	if _, err := os.Stat(m.root + "/run/images/repair"); !os.IsNotExist(err) {
		t.Errorf("the lists are still there: %v", err)
	}
	if said := m.startUp(t); said != "embedded images: already in /run/images\n" {
		t.Errorf("started again, the boot script said %q", said)
	}
}

// differs compares a layer's diff directory in the machine with want.
func (m *machine) differs(t *testing.T, want, store string, l *layer) string {
	t.Helper()
	got := filepath.Join(m.root, store, "overlay2", l.cacheID(), "diff")
	return cmp.Diff(strings.Split(describe(t, want, nothing), "\n"), strings.Split(describe(t, got, nothing), "\n"))
}

// unpackExactly writes the layer's files unchanged, with opaque directories
// expressed as whiteouts.
func unpackExactly(t *testing.T, dir string, l *layer) {
	t.Helper()
	d, err := spellOut(l)
	if err != nil {
		t.Fatal(err)
	}
	mount(t, "tmpfs", dir, "tmpfs", 0)
	var links, dirs []initramfs.Entry
	for e := range d.files.All() {
		at := filepath.Join(dir, e.Path)
		switch e.Type {
		case initramfs.HardLink:
			links = append(links, e)
			continue
		case initramfs.Dir:
			dirs = append(dirs, e)
			err = os.Mkdir(at, 0o755)
		case initramfs.CharDevice, initramfs.BlockDevice:
			kind := e
			kind.Mode |= map[initramfs.Type]uint32{initramfs.CharDevice: 0o020000, initramfs.BlockDevice: 0o060000}[e.Type]
			err = create(at, kind)
		default:
			err = create(at, e)
		}
		if err != nil {
			t.Fatal(err)
		}
		setMetadata(t, at, e)
	}
	for _, e := range links {
		if err := os.Link(filepath.Join(dir, e.Target), filepath.Join(dir, e.Path)); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range dirs {
		setMetadata(t, filepath.Join(dir, e.Path), e)
	}
}

func TestBootScriptWithoutStore(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	tree := &initramfs.Tree{}
	if err := tree.Add(script()); err != nil {
		t.Fatal(err)
	}
	if said := boot(t, tree).startUp(t); said != "embedded images: none on board\n" {
		t.Errorf("the boot script said %q", said)
	}
}

// A store that cannot be mounted must not be left half-mounted: without it
// Docker can at least pull.
func TestBootScriptWithDamagedLayers(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	tree := storeOf(t, entries("a b")).withScript(t)
	damaged := initramfs.BytesFile(StorePath+"/"+layersFile, bytes.Repeat([]byte("no squashfs"), 1000), initramfs.Epoch())
	if err := tree.Add(damaged); err != nil {
		t.Fatal(err)
	}
	m := boot(t, tree)
	said := m.startUp(t)
	if !strings.HasPrefix(said, "embedded images: not available: mounting layers.squashfs: ") || strings.Count(said, "\n") != 1 {
		t.Errorf("the boot script said %q", said)
	}
	left, err := os.ReadDir(m.root + "/run/images")
	if err != nil || len(left) > 0 {
		t.Errorf("%d files are left in /run/images, %v", len(left), err)
	}
}

func attributed() []initramfs.Entry {
	return []initramfs.Entry{
		{Path: "bin/ping", Mode: 0o755, Xattrs: map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}},
		{Path: "odd\nname=\\", Mode: 0o644, Xattrs: map[string]string{"trusted.t": "line\n", "trusted.e": ""}},
		{Path: "l", Type: initramfs.Symlink, Target: "bin/ping", Xattrs: map[string]string{"trusted.of-the-link": "yes"}},
	}
}

// busybox cannot set attributes: the boot continues with a message.
func TestBootScriptWithoutSetfattr(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	said := boot(t, storeOf(t, attributed()).withScript(t)).startUp(t)
	if !strings.HasPrefix(said, "embedded images: 0 in /run/images, but not all as they were: 3-xattrs: ") || strings.Count(said, "\n") != 1 {
		t.Errorf("the boot script said %q", said)
	}
}

func TestAttrDump(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	setfattr := testneed.Tool(t, "setfattr")
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0)
	if err := os.Mkdir(dir+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, e := range attributed() {
		if err := create(filepath.Join(dir, e.Path), e); err != nil {
			t.Fatal(err)
		}
	}
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, attrDump(attributed()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(setfattr, "-h", "--restore="+list)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, e := range attributed() {
		var want string
		for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
			want += fmt.Sprintf(" [%s=%q]", name, e.Xattrs[name])
		}
		if got, err := xattrsOf(filepath.Join(dir, e.Path)); err != nil || got != want {
			t.Errorf("%q: got %s, %v; want %s", e.Path, got, err, want)
		}
	}
}
