package initramfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
	"hookbuild/test/testneed"
)

// Sample returns a tree with one of everything that an archive can carry.
func Sample(t testing.TB) *Tree {
	t.Helper()
	at := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
	file := func(name, content string, mode uint32) Entry {
		e := BytesFile(name, []byte(content), at)
		e.Mode = mode
		return e
	}
	owned := file("home/u/f", "mine", 0o640)
	owned.UID, owned.GID = 1000, 4294967294
	tree := &Tree{}
	for _, e := range []Entry{
		{Path: "bin", Type: Dir, Mode: 0o755, ModTime: at},
		file("bin/busybox", "#!busybox", 0o4755),
		{Path: "bin/sh", Type: HardLink, Target: "bin/busybox"},
		{Path: "bin/ash", Type: HardLink, Target: "bin/busybox"},
		{Path: "lib", Type: Symlink, Mode: 0o777, Target: "usr/lib", ModTime: at},
		{Path: "tmp", Type: Dir, Mode: 0o1777, ModTime: at},
		{Path: "dev/null", Type: CharDevice, Mode: 0o600, Major: 1, Minor: 3, ModTime: at},
		{Path: "dev/zilch", Type: HardLink, Target: "dev/null"},
		{Path: "dev/sda", Type: BlockDevice, Mode: 0o660, GID: 6, Major: 259, Minor: 1048575, ModTime: at},
		{Path: "gone", Type: CharDevice, Mode: 0, ModTime: at},
		{Path: "run/pipe", Type: Fifo, Mode: 0o600, ModTime: at},
		{Path: "run/sock", Type: Socket, Mode: 0o755, ModTime: at},
		file("empty", "", 0o644), owned,
	} {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func segment(t testing.TB, tree *Tree, o SegmentOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSegment(context.Background(), &b, tree, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGNUCpioLists(t *testing.T) {
	cpio := exec.Command(testneed.Tool(t, "cpio"), "-itv", "--quiet", "--numeric-uid-gid")
	cpio.Env = []string{"TZ=UTC", "LC_ALL=C"}
	cpio.Stdin = bytes.NewReader(segment(t, Sample(t), SegmentOptions{Compression: None}))
	out, err := cpio.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"-rwsr-xr-x   3 0        0               9 Feb  3  2024 bin/sh",
		"crw-------   2 0        0          1,   3 Feb  3  2024 dev/null\n",
		"brw-rw----   1 0        6        259, 1048575 Feb  3  2024 dev/sda\n",
		"c---------   1 0        0          0,   0 Feb  3  2024 gone\n",
		"drwxrwxrwt   2 0        0               0 Feb  3  2024 tmp\n",
		"lrwxrwxrwx   1 0        0               7 Feb  3  2024 lib -> usr/lib\n",
		"-rw-r-----   1 1000     4294967294        4 Feb  3  2024 home/u/f\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("cpio does not list %q in\n%s", want, out)
		}
	}
}

// bigTree returns a tree of n bytes that compress to about a half, in files of
// all sizes.
func bigTree(t testing.TB, n int) *Tree {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	tree := &Tree{}
	for i := 0; n > 0; i++ {
		size := min(n, rnd.IntN(1<<rnd.IntN(23)))
		n -= size
		body := make([]byte, size)
		for j := range body {
			body[j] = byte(rnd.IntN(256)) & byte(j>>3|0x13)
		}
		if err := tree.Add(BytesFile(fmt.Sprintf("d%d/f%d", i%10, i), body, Epoch())); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// TestOneStream proves that the output does not depend on the number of
// goroutines and is a single stream, because the kernel would not unpack a
// second one.
func TestOneStream(t *testing.T) {
	tree := bigTree(t, 20<<20)
	plain := segment(t, tree, SegmentOptions{Compression: None})
	tests := []struct {
		compression Compression
		level       int
	}{{Gzip, 0}, {Gzip, 1}, {Zstd, 0}, {Zstd, 1}, {Zstd, 9}}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %d", test.compression, test.level), func(t *testing.T) {
			o := SegmentOptions{Compression: test.compression, Level: test.level, Jobs: 1}
			want := segment(t, tree, o)
			for _, jobs := range []int{2, 20} {
				o.Jobs = jobs
				if !bytes.Equal(segment(t, tree, o), want) {
					t.Errorf("%d jobs produce different bytes", jobs)
				}
			}
			got, err := ReadSegments(context.Background(), bytes.NewReader(want), Limits{})
			if err != nil || len(got) != 1 || got[0].Size != int64(len(want)) {
				t.Errorf("read as %+v, %v", got, err)
			}
			if !bytes.Equal(pipe(t, want, string(test.compression), "-dc"), plain) {
				t.Error("the content differs")
			}
		})
	}
}

// TestProcessorsDoNotMatter is the other half of [TestOneStream]: the libraries
// look at GOMAXPROCS themselves.
func TestProcessorsDoNotMatter(t *testing.T) {
	tree := bigTree(t, 17<<20)
	for _, c := range []Compression{Gzip, Zstd} {
		want := segment(t, tree, SegmentOptions{Compression: c})
		before := runtime.GOMAXPROCS(1)
		got := segment(t, tree, SegmentOptions{Compression: c})
		runtime.GOMAXPROCS(before)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: one processor produces different bytes", c)
		}
	}
}

func TestZstdCountsOneFrame(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.zst")
	if err := os.WriteFile(name, segment(t, bigTree(t, 17<<20), SegmentOptions{Compression: Zstd}), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(testneed.Tool(t, "zstd"), "-lv", name).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Zstandard Frames: 1\n", "Window Size: 18.0 MiB"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("zstd does not say %q:\n%s", want, out)
		}
	}
}

func TestWriteSegmentRefuses(t *testing.T) {
	file := func(size int64, content string) Entry {
		return Entry{Path: "f", Size: size, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(content)), nil
		}}
	}
	broken := errors.New("the disk is on fire")
	tests := []struct {
		name  string
		entry Entry
		want  string
	}{
		{"short", file(5, "1234"), `writing "f" of here into an initramfs: its content ends after 4 of 5 bytes`},
		{"long", file(3, "1234"), "longer than its 3 bytes"},
		{"not empty", file(0, "1"), "longer than its 0 bytes"},
		{"none", Entry{Path: "f", Size: 4}, "it has no content, want 4 bytes"},
		{"4 GiB", file(1<<32, ""), "its 4294967296 bytes are more than an archive can carry"},
		{"negative", file(-1, ""), "its -1 bytes"},
		{"cannot open", Entry{Path: "f", Open: func() (io.ReadCloser, error) { return nil, broken }}, "opening its content: the disk is on fire"},
		{"cannot read", Entry{Path: "f", Size: 1, Open: func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(broken)), nil }}, "copying its content: the disk is on fire"},
		{"cannot read on", Entry{Path: "f", Open: func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(broken)), nil }}, "copying its content: the disk is on fire"},
		{"cannot close", Entry{Path: "f", Open: func() (io.ReadCloser, error) { return failingCloser{broken}, nil }}, "closing its content: the disk is on fire"},
		{"trailer", Entry{Path: newcTrailer}, "this name ends an archive"},
		{"long part", Entry{Path: "a/" + strings.Repeat("x", 256) + "/b"}, "part of its name is longer than 255 bytes"},
		{"type", Entry{Path: "f", Type: 99}, "cannot carry a type 99"},
		{"mode", Entry{Path: "f", Mode: 0o100644}, "its mode 0100644 has more than permission bits"},
		{"no target", Entry{Path: "f", Type: Symlink}, "its target has 0 bytes"},
		{"long target", Entry{Path: "f", Type: Symlink, Target: strings.Repeat("x", 4096)}, "its target has 4096 bytes"},
		{"early", Entry{Path: "f", ModTime: time.Unix(-1, 0)}, "its modification time 1969-12-31T23:59:59Z is outside 1970 to 2106"},
		{"late", Entry{Path: "f", ModTime: time.Unix(1<<32, 0)}, "is outside"},
		{"xattrs", Entry{Path: "f", Xattrs: map[string]string{"security.capability": "x"}}, "cannot carry extended attributes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree := &Tree{}
			test.entry.Origin = "here"
			if err := tree.Add(test.entry); err != nil {
				t.Fatal(err)
			}
			err := WriteSegment(context.Background(), io.Discard, tree, SegmentOptions{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

type failingCloser struct{ err error }

func (failingCloser) Read([]byte) (int, error) { return 0, io.EOF }
func (c failingCloser) Close() error           { return c.err }

func TestOptions(t *testing.T) {
	tree := grow(t, "f 1", "s -> x", "t = s")
	for _, o := range []SegmentOptions{{Compression: "lzo"}, {Level: 10}, {Level: -1}, {Compression: Zstd, Level: 23}} {
		if err := WriteSegment(context.Background(), io.Discard, tree, o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if _, err := ParseCompression("lz4"); err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "choose zstd, gzip or none") {
		t.Error(err)
	}
	if c, err := ParseCompression("zstd"); c != Zstd || err != nil {
		t.Error(c, err)
	}
	if !bytes.Equal(segment(t, tree, SegmentOptions{}), segment(t, tree, SegmentOptions{Compression: Gzip, Level: 6})) {
		t.Error("the default is not gzip level 6")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := WriteSegment(ctx, io.Discard, tree, SegmentOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestMaxTime(t *testing.T) {
	tree := grow(t, "early 1")
	for name, at := range map[string]time.Time{"late": time.Unix(5000, 0), "never": {}} {
		if err := tree.Add(BytesFile(name, nil, at)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := load(t, segment(t, tree, SegmentOptions{MaxTime: time.Unix(1000, 999)}))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"early": 9, "late": 1000, "never": 0} {
		if e, _ := got.Tree.Lookup(name); e.ModTime.Unix() != want {
			t.Errorf("%s has %d, want %d", name, e.ModTime.Unix(), want)
		}
	}
}

func TestXattrsAreDroppedOnRequestOnly(t *testing.T) {
	tree := grow(t, "f 1", "l = f")
	e := entry("x 1")
	e.Xattrs = map[string]string{"user.x": "y"}
	if err := tree.Add(e); err != nil {
		t.Fatal(err)
	}
	if with := tree.Xattrs(); len(with) != 1 || with[0].Path != "x" {
		t.Errorf("%v have attributes", with)
	}
	err := WriteSegment(context.Background(), io.Discard, tree, SegmentOptions{})
	if !errors.Is(err, errXattrs) {
		t.Error(err)
	}
	segment(t, tree, SegmentOptions{DropXattrs: true})
}

// TestLinkedSymlinks: the kernel does not link symlinks, so each becomes a
// separate one.
func TestLinkedSymlinks(t *testing.T) {
	got, err := load(t, segment(t, grow(t, "b -> x", "a = b"), SegmentOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a symlink x", "b symlink x"}, text(got.Tree)); diff != "" {
		t.Error(diff)
	}
}

// fullDisk fails after some bytes.
type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

func TestFullDisk(t *testing.T) {
	tree := bigTree(t, 3<<20)
	for _, c := range []Compression{None, Gzip, Zstd} {
		for _, room := range []int{0, 7, 1000, 1 << 20} {
			w := NewFileWriter(&fullDisk{room})
			if err := w.WriteSegment(context.Background(), tree, SegmentOptions{Compression: c}); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%s with room for %d: %v", c, room, err)
			}
		}
	}
	w := NewFileWriter(&fullDisk{5})
	if err := w.Append(context.Background(), strings.NewReader("123")); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(context.Background(), strings.NewReader("")); err != nil || w.Offset() != 4 {
		t.Errorf("%v, at %d", err, w.Offset())
	}
	if err := w.Append(context.Background(), strings.NewReader("12")); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if err := NewFileWriter(&fullDisk{3}).Append(context.Background(), iotest.ErrReader(io.ErrNoProgress)); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

// FuzzRoundTrip writes the trees of [FuzzAdd] and reads them back.
func FuzzRoundTrip(f *testing.F) {
	f.Add("a/b 1\nc = a/b\nd -> a\nd/e 22\n", uint8(1))
	f.Add("z 1\nb = z\na = z\nc/\n", uint8(2))
	f.Fuzz(func(t *testing.T, script string, flags uint8) {
		tree := &Tree{}
		for line := range strings.SplitSeq(script, "\n") {
			if err := tree.Add(entry(line)); err != nil {
				return
			}
		}
		o := SegmentOptions{Compression: []Compression{None, Gzip, Zstd}[int(flags)%3], Jobs: 2}
		var file bytes.Buffer
		if err := WriteSegment(context.Background(), &file, tree, o); err != nil {
			return
		}
		got, err := load(t, file.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		checkTree(t, got.Tree)
		if diff := cmp.Diff(names(tree), names(got.Tree)); diff != "" {
			t.Error(diff)
		}
	})
}

// names lists a tree so that it does not matter which of a file's names is its
// entry. Symlinks lose their links.
func names(tree *Tree) []string {
	var lines []string
	for e := range tree.All() {
		file := *tree.file(e.Path)
		group := append(tree.Names(file.Path), file.Path)
		if slices.Sort(group); file.Type == Symlink {
			group = []string{e.Path}
		}
		lines = append(lines, fmt.Sprintf("%s: %s %o %q %q %q", e.Path, file.Type, file.Mode, file.Target, content(file), group))
	}
	return lines
}

func BenchmarkSegment(b *testing.B) {
	tree := bigTree(b, 100<<20)
	dir := b.TempDir()
	for e := range tree.All() {
		name := filepath.Join(dir, e.Path)
		if e.Type == Dir {
			if err := os.MkdirAll(name, 0o755); err != nil {
				b.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(name, []byte(content(e)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range []Compression{None, Gzip, Zstd} {
		b.Run("hookbuild "+string(c), func(b *testing.B) {
			var n int64
			for b.Loop() {
				n = 0
				if err := WriteSegment(context.Background(), &countingWriter{io.Discard, &n}, tree, SegmentOptions{Compression: c}); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(100 << 20)
			b.ReportMetric(float64(n)/(1<<20), "MiB")
		})
	}
	for _, command := range []string{"cat", "gzip -6", "zstd -T0 -3", "zstd -T0 -9"} {
		testneed.Tool(b, "cpio")
		b.Run("cpio | "+command, func(b *testing.B) {
			out := filepath.Join(b.TempDir(), "out")
			for b.Loop() {
				cmd := exec.Command("sh", "-c", "find . | LC_ALL=C sort | cpio -o -H newc --quiet | "+command+" > "+out)
				cmd.Dir = dir
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
			}
			info, err := os.Stat(out)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(100 << 20)
			b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
		})
	}
}
