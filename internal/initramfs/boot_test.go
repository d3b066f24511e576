package initramfs

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/test/testneed"
)

// BootFile returns an initramfs of six segments whose files overlap.
func BootFile(t *testing.T) []byte {
	t.Helper()
	program := filepath.Join(t.TempDir(), "init")
	build := exec.Command(testneed.Tool(t, "go"), "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./testdata/bootinit")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	init := Entry{Path: "init", Mode: 0o755, Size: info.Size(), Open: func() (io.ReadCloser, error) { return os.Open(program) }}
	first := Sample(t)
	for _, e := range []Entry{init, {Path: "root/.keep"}, {Path: "usr/lib", Type: Dir, Mode: 0o755}} {
		if err := first.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	// Zstd over several jobs, gzip over several blocks.
	zeros := make([]byte, 20<<20)
	big := &Tree{}
	if err := big.Add(BytesFile("big", append(zeros, "end"...), Epoch())); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	w, ctx := NewFileWriter(&file), context.Background()
	for i, tree := range []*Tree{
		first, big,
		grow(t, "zlib", "z/gz 1", "big2 "+strings.Repeat("x", 3<<20)),
		grow(t, "bin/sh 2", "late 3"),
	} {
		o := SegmentOptions{Compression: []Compression{Gzip, Zstd, Gzip, None}[i]}
		if err := w.WriteSegment(ctx, tree, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range [][]byte{pipe(t, oddFiles(), "zstd", "-q", "-19"), oddLinks()} {
		if err := w.Append(ctx, bytes.NewReader(part)); err != nil {
			t.Fatal(err)
		}
	}
	return file.Bytes()
}

// CompareBoot compares a machine's listing of its files with the result of
// [Load] for the same initramfs.
func CompareBoot(t *testing.T, data []byte, console string) {
	t.Helper()
	file, err := load(t, data)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Lost) != 2 || len(file.Segments) != 6 {
		t.Errorf("lost %v, %d segments", file.Lost, len(file.Segments))
	}
	if diff := cmp.Diff(expected(file.Tree), told(console)); diff != "" {
		t.Errorf("the kernel unpacked otherwise (-want +got):\n%s", diff)
	}
}

// oddFiles tests what [TestUnpacksAsTheKernel] claims about the kernel.
func oddFiles() []byte {
	const reg, dir, link, chr = 0o100644, 0o40755, 0o120777, 0o20600
	var b newc
	for _, h := range []rawHeader{
		{name: ".", mode: dir},
		{name: "/k", mode: dir},
		{name: "k/no/parent", mode: reg, body: "1"},
		{name: "k/d", mode: dir}, {name: "k/s", mode: link, body: "/k/d"}, {name: "k/s/f", mode: reg, body: "1"},
		{name: "k/l", mode: link, body: "d"}, {name: "k/l", mode: dir},
		{name: "k/d", mode: reg, body: "2"},
		{name: "k/c", mode: chr, rdevMinor: 3}, {name: "k/c", mode: 0o20666, rdevMinor: 4},
	} {
		b.add(h)
	}
	return b.end()
}

func oddLinks() []byte {
	const reg, link = 0o100644, 0o120777
	var b newc
	for _, h := range []rawHeader{
		{name: "k/h1", ino: 5, nlink: 2, mode: reg, body: "first"}, {name: "k/h2", ino: 5, nlink: 2, mode: reg},
		{name: "k/h3", ino: 6, nlink: 2, mode: reg}, {name: "k/h4", ino: 6, nlink: 2, mode: reg, body: "last"},
		{name: "k/h5", ino: 7, nlink: 2, mode: reg, body: "rewritten"}, {name: "k/h6", ino: 7, nlink: 2, mode: reg}, {name: "k/h6", ino: 8, nlink: 1, mode: reg, body: "new"},
		{name: "k/s1", ino: 9, nlink: 2, mode: link, body: "x"}, {name: "k/s2", ino: 9, nlink: 2, mode: link, body: "y"},
	} {
		b.add(h)
	}
	return b.end()
}

// told returns the lines that testdata/bootinit printed, except those about the
// console device, which the kernel creates itself.
func told(console string) []string {
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(console, "\r", "")) {
		_, line, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "@@ ")
		if ok && !strings.HasPrefix(line, "dev/console ") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// expected lists a tree in the format of testdata/bootinit.
func expected(tree *Tree) []string {
	subdirs := map[string]int{}
	for e := range tree.All() {
		if e.Type == Dir {
			subdirs[parentOf(e.Path)]++
		}
	}
	var lines []string
	for e := range tree.All() {
		file := *tree.file(e.Path)
		links := 1 + len(tree.Names(file.Path))
		if file.Type == Dir {
			links = 2 + subdirs[e.Path]
		}
		what := "-"
		switch file.Type {
		case Regular:
			what = fmt.Sprintf("%d:%08x", file.Size, crc32.ChecksumIEEE([]byte(content(file))))
		case Symlink:
			what = file.Target
		}
		lines = append(lines, fmt.Sprintf("%s %o %d:%d %d %d %d,%d %s", e.Path, uint32(newcType(file.Type))|file.Mode, file.UID, file.GID,
			links, file.ModTime.Unix(), file.Major, file.Minor, what))
	}
	slices.Sort(lines)
	return lines
}
