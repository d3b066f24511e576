package initramfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
	"hookbuild/test/testneed"
)

// load reads an initramfs file whose contents remain until the test ends.
func load(t testing.TB, file []byte) (*File, error) {
	t.Helper()
	spool, err := os.Create(filepath.Join(t.TempDir(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := spool.Close(); err != nil {
			t.Error(err)
		}
	})
	return Load(context.Background(), bytes.NewReader(file), spool, "a test", Limits{}, nil)
}

// full lists everything that an archive carries of a tree.
func full(tree *Tree) []string {
	var lines []string
	for e := range tree.All() {
		lines = append(lines, fmt.Sprintf("%s %s %o %d:%d %d %q %d,%d %d %q", e.Path, e.Type, e.Mode, e.UID, e.GID,
			max(e.ModTime.Unix(), 0), e.Target, e.Major, e.Minor, e.Size, content(e)))
	}
	return lines
}

func TestLoadGivesBack(t *testing.T) {
	want := Sample(t)
	// A hard link's first name in order carries the entry after reading.
	want.Remove("bin/busybox")
	if err := want.Add(Entry{Path: "bin/busybox", Type: HardLink, Target: "bin/ash"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Compression{None, Gzip, Zstd} {
		data := segment(t, Sample(t), SegmentOptions{Compression: c})
		got, err := load(t, data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(full(want), full(got.Tree)); diff != "" {
			t.Error(diff)
		}
		if len(got.Lost) != 0 || len(got.Segments) != 1 {
			t.Errorf("lost %v, segments %v", got.Lost, got.Segments)
		}
		s := got.Segments[0]
		if s.Compression != c || s.Size != int64(len(data)) || s.Entries != want.Len() {
			t.Errorf("%d bytes with %d entries read as %+v", len(data), want.Len(), s)
		}
	}
}

// pipe runs a program on input.
func pipe(t testing.TB, input []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testneed.Tool(t, name), args...)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, &stderr)
	}
	return out
}

// TestCompressors reads the output of other programs, between other segments.
func TestCompressors(t *testing.T) {
	tests := []struct {
		want    Compression
		program []string
	}{
		{Gzip, []string{"gzip", "-9"}},
		{Zstd, []string{"zstd", "-19", "-q"}},
		{Zstd, []string{"zstd", "-q", "--no-check", "-T2"}},
		{Zstd, []string{"zstd", "-q", "-15", "--long=27"}},
		{XZ, []string{"xz", "--check=crc32"}},
		{XZ, []string{"xz", "-9", "--block-size=100000"}},
		{LZMA, []string{"xz", "--format=lzma"}},
		{LZ4, []string{"lz4", "-l", "-q"}},
	}
	big := &Tree{}
	if err := big.Add(BytesFile("big", bytes.Repeat([]byte("0123456789abcdef"), 3<<16), Epoch())); err != nil {
		t.Fatal(err)
	}
	plain := segment(t, big, SegmentOptions{Compression: None})
	for _, test := range tests {
		t.Run(strings.Join(test.program, " "), func(t *testing.T) {
			var file bytes.Buffer
			w := NewFileWriter(&file)
			ctx := context.Background()
			first := bytes.NewReader(segment(t, grow(t, "first 1"), SegmentOptions{Compression: None}))
			packed := bytes.NewReader(pipe(t, plain, test.program[0], test.program[1:]...))
			for _, err := range []error{
				w.Append(ctx, first), w.Append(ctx, packed),
				w.WriteSegment(ctx, grow(t, "last 1"), SegmentOptions{Compression: None}),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			got, err := load(t, file.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Segments) != 3 || got.Segments[1].Compression != test.want || got.Segments[1].Size != packed.Size() ||
				got.Segments[1].Offset != first.Size() || got.Segments[1].Unpacked != int64(len(plain)) {
				t.Errorf("%d compressed bytes read as %+v", packed.Size(), got.Segments)
			}
			if e, ok := got.Tree.Lookup("big"); !ok || len(content(e)) != 3<<20 {
				t.Errorf("big has %d bytes", e.Size)
			}
			if w.Offset() != int64(file.Len()) {
				t.Errorf("%d bytes counted as %d", file.Len(), w.Offset())
			}
		})
	}
}

// newc writes records that no well-behaved writer would.
type newc struct{ bytes.Buffer }

type rawHeader struct {
	magic                  string
	ino, mode, nlink, size uint32
	rdevMinor              uint32
	name, body             string
	nameSize               int // 0 means the real size
}

func (n *newc) add(h rawHeader) *newc {
	if h.magic == "" {
		h.magic = "070701"
	}
	if h.nameSize == 0 {
		h.nameSize = len(h.name) + 1
	}
	if h.size == 0 {
		h.size = uint32(len(h.body))
	}
	fmt.Fprintf(n, "%s%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", h.magic, h.ino, h.mode, 0, 0, h.nlink, 7, h.size, 0, 0, 0, h.rdevMinor, h.nameSize, 0)
	n.padded(h.name + "\x00")
	n.padded(h.body)
	return n
}

func (n *newc) padded(s string) {
	n.WriteString(s)
	n.Write(make([]byte, -n.Len()&3))
}

func (n *newc) end() []byte {
	return n.add(rawHeader{nlink: 1, name: newcTrailer}).Bytes()
}

func TestUnpacksAsTheKernel(t *testing.T) {
	const reg, dir, link, chr = 0o100644, 0o40755, 0o120777, 0o20600
	tests := []struct {
		name    string
		records []rawHeader
		want    []string
		lost    string
	}{
		{"absolute and dotted names", []rawHeader{{name: ".", mode: dir}, {name: "/a", mode: dir}, {name: "./a/b", mode: reg, body: "1"}}, []string{"a directory 755", "a/b file 1"}, ""},
		{"no parent", []rawHeader{{name: "a/b", mode: reg, body: "1"}}, nil, `there is no directory "a" before it`},
		{"parent is a file", []rawHeader{{name: "a", mode: reg}, {name: "a/b", mode: reg, body: "1"}}, []string{"a file "}, `no directory "a"`},
		{"through a symlink", []rawHeader{{name: "d", mode: dir}, {name: "s", mode: link, body: "/d"}, {name: "s/f", mode: reg, body: "1"}}, []string{"d directory 755", "d/f file 1", "s symlink /d"}, ""},
		{"directory replaces symlink", []rawHeader{{name: "d", mode: dir}, {name: "s", mode: link, body: "d"}, {name: "s", mode: dir}}, []string{"d directory 755", "s directory 755"}, ""},
		{"file over filled directory", []rawHeader{{name: "d", mode: dir}, {name: "d/f", mode: reg}, {name: "d", mode: reg, body: "1"}}, []string{"d directory 755", "d/f file "}, "a non-empty directory is in the place of this file"},
		{"body with the first name", []rawHeader{{name: "a", ino: 5, nlink: 2, mode: reg, body: "1"}, {name: "b", ino: 5, nlink: 2, mode: reg}}, []string{"a file 1", "b hard link a"}, ""},
		{"body with the last name", []rawHeader{{name: "b", ino: 5, nlink: 2, mode: reg}, {name: "a", ino: 5, nlink: 2, mode: reg, body: "1"}}, []string{"a hard link b", "b file 1"}, ""},
		{"one inode, one name each", []rawHeader{{name: "b", ino: 5, nlink: 1, mode: reg, body: "1"}, {name: "a", ino: 5, nlink: 1, mode: reg, body: "2"}}, []string{"a file 2", "b file 1"}, ""},
		{"one inode, two types", []rawHeader{{name: "b", ino: 5, nlink: 2, mode: reg, body: "1"}, {name: "a", ino: 5, nlink: 2, mode: chr}}, []string{"a character device", "b file 1"}, ""},
		{"linked directories and symlinks", []rawHeader{{name: "a", ino: 5, nlink: 2, mode: dir}, {name: "b", ino: 5, nlink: 2, mode: dir}, {name: "c", ino: 6, nlink: 2, mode: link, body: "x"}, {name: "d", ino: 6, nlink: 2, mode: link, body: "y"}}, []string{"a directory 755", "b directory 755", "c symlink x", "d symlink y"}, ""},
		{"all names are rewritten", []rawHeader{{name: "a", ino: 5, nlink: 2, mode: reg, body: "1"}, {name: "b", ino: 5, nlink: 2, mode: reg}, {name: "b", ino: 6, nlink: 1, mode: reg, body: "2"}}, []string{"a file 2", "b hard link a"}, ""},
		{"link over what it names", []rawHeader{{name: "a", ino: 5, nlink: 2, mode: reg, body: "1"}, {name: "a", ino: 5, nlink: 2, mode: reg}}, []string{"a file 1"}, ""},
		{"link whose first name is gone", []rawHeader{{name: "a", ino: 5, nlink: 2, mode: reg, body: "1"}, {name: "a", ino: 6, mode: link, body: "x"}, {name: "b", ino: 5, nlink: 2, mode: reg}}, []string{"a symlink x"}, `"a", which it is a hard link to, was replaced`},
		{"link over a filled directory", []rawHeader{{name: "d", mode: dir}, {name: "d/f", mode: reg}, {name: "a", ino: 5, nlink: 2, mode: reg, body: "1"}, {name: "d", ino: 5, nlink: 2, mode: reg}}, []string{"a file 1", "d directory 755", "d/f file "}, "place of this hard link"},
		{"a trailer that is not a file", []rawHeader{{name: "a", mode: dir}, {name: "a/" + newcTrailer, mode: reg}}, []string{"a directory 755", "a/TRAILER!!! file "}, ""},
		{"symlink with sticky bit", []rawHeader{{name: "s", mode: 0o121777, body: "x"}}, []string{"s symlink x"}, ""},
		{"crc magic", []rawHeader{{magic: "070702", name: "f", mode: reg, body: "xyz"}}, []string{"f file xyz"}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b newc
			for _, h := range test.records {
				b.add(h)
			}
			got, err := load(t, b.end())
			if err != nil {
				t.Fatal(err)
			}
			checkTree(t, got.Tree)
			if diff := cmp.Diff(test.want, text(got.Tree)); diff != "" {
				t.Error(diff)
			}
			if lost := fmt.Sprint(got.Lost); !strings.Contains(lost, test.lost) || test.lost == "" && len(got.Lost) > 0 {
				t.Errorf("lost %s, want %q", lost, test.lost)
			}
		})
	}
}

func TestDeviceKeepsItsNumbers(t *testing.T) {
	var b newc
	b.add(rawHeader{name: "d", mode: 0o20600, rdevMinor: 3}).add(rawHeader{name: "d", mode: 0o20666, rdevMinor: 4})
	got, err := load(t, b.end())
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := got.Tree.Lookup("d"); e.Minor != 3 || e.Mode != 0o666 {
		t.Errorf("minor %d, mode %o", e.Minor, e.Mode)
	}
}

func TestSeveralArchives(t *testing.T) {
	one := segment(t, grow(t, "a 1"), SegmentOptions{Compression: None})
	two := segment(t, grow(t, "b 2"), SegmentOptions{Compression: None})
	both := append(append(bytes.Clone(one), make([]byte, 512)...), two...)
	got, err := load(t, append(pipe(t, both, "gzip"), 0, 0, 0, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Segments; len(s) != 1 || s[0].Archives != 2 || s[0].Entries != 2 || s[0].Unpacked != int64(len(both)) {
		t.Errorf("%+v", s)
	}
	plain, err := load(t, append(bytes.Clone(both), 0, 0, 0, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if s := plain.Segments; len(s) != 2 || s[0].Size != int64(len(one)) || s[1].Offset != int64(len(one))+512 {
		t.Errorf("%+v", s)
	}
	if diff := cmp.Diff(text(got.Tree), text(plain.Tree)); diff != "" {
		t.Error(diff)
	}
}

func TestReaderRefuses(t *testing.T) {
	good := segment(t, grow(t, "f abcdefgh", "s -> xyz"), SegmentOptions{Compression: None})
	gz := segment(t, grow(t, "f abcdefgh"), SegmentOptions{})
	zst := segment(t, grow(t, "f abcdefgh"), SegmentOptions{Compression: Zstd})
	badHex := bytes.Replace(good, []byte("00000008"), []byte("-0000001"), 1)
	window := binary.LittleEndian.AppendUint32(nil, 0xfd2fb528)
	window = append(window, 0, 0xff) // a window of 3.75 TiB
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"text", []byte("hello"), `it seems to be text that begins with "hello", not an initramfs; name the initramfs`},
		{"kernel", []byte("MZ\xea\x07\x00\xc0\x07\x8c"), "it seems to be a kernel or another EFI program, not"},
		{"noise", []byte{1, 2, 3, 4, 0xff}, "it seems to be data that begins with 01 02 03 04 ff, not"},
		{"a page", []byte("<!DOCTYPE html><title>404</title>"), "it seems to be an HTML or XML page, not"},
		{"noise behind a segment", append(bytes.Clone(gz), 1, 2, 3, 4), "at byte " + fmt.Sprint(len(gz)) + ", in segment 1 (gzip, from byte 0): after segment 1: neither a newc archive nor a compressed one begins like this: 01 02 03 04"},
		{"cut gzip", gz[:len(gz)-9], fmt.Sprintf("at byte %d, in segment 1 (gzip, from byte 0): unexpected EOF; the file is incomplete", len(gz)-9)},
		{"cut gzip behind a segment", append(bytes.Clone(good), gz[:len(gz)-9]...), fmt.Sprintf("in segment 2 (gzip, from byte %d): unexpected EOF; the file is incomplete", len(good))},
		{"old cpio", []byte("070707" + strings.Repeat("0", 200)), "invalid cpio header; the file is damaged"},
		{"bzip2", []byte("BZh9aaaaaaaaaa"), "bzip2 is not supported; recompress it"},
		{"lzo", []byte("\x89LZO\x00aaaaaaaaaa"), "lzo is not supported"},
		{"dot-dot", (&newc{}).add(rawHeader{name: "a/../../b", mode: 0o100644}).end(), "unsafe path"},
		{"NUL in a name", (&newc{}).add(rawHeader{name: "a\x00b", mode: 0o100644}).end(), "NUL"},
		{"name without end", (&newc{}).add(rawHeader{name: "abcd", nameSize: 3, mode: 0o100644}).end(), "does not end with a NUL"},
		{"no name", (&newc{}).add(rawHeader{name: "a", nameSize: 1 << 20, mode: 0o100644}).end(), "invalid cpio header"},
		{"no type", (&newc{}).add(rawHeader{name: "a", mode: 0o644}).end(), `"a" has an unknown type`},
		{"no target", (&newc{}).add(rawHeader{name: "a", mode: 0o121777}).end(), `the target of "a" has 0 bytes`},
		{"long target", (&newc{}).add(rawHeader{name: "a", mode: 0o120777, body: strings.Repeat("x", 4096)}).end(), `has 4096 bytes; the kernel accepts 1 to 4095`},
		{"no number", badHex, `"-0000001" is not a number`},
		{"unaligned archive", append(append(bytes.Clone(good), 0), good...), "multiple of 4"},
		{"junk behind an archive in a stream", pipe(t, append(bytes.Clone(good), 'x'), "gzip"), "junk follows an archive"},
		{"split over two members", append(pipe(t, good[:100], "gzip"), pipe(t, good[100:], "gzip")...), "unexpected EOF"},
		{"huge window", append(window, gz...), "window size exceeded"},
		{"damaged gzip", append(bytes.Clone(gz[:len(gz)-6]), 0, 0, 0, 0, 0, 0), "checksum; the file is damaged: copy, download or build it again"},
		{"damaged zstd", append(bytes.Clone(zst[:len(zst)-4]), 1, 2, 3, 4), "CRC"},
		{"damaged lz4", []byte("\x02\x21\x4c\x18\x04\x00\x00\x00\xff\xff\xff\xff"), "lz4 block"},
	}
	for cut := 1; cut < len(good)-4; cut += 7 {
		tests = append(tests, struct {
			name string
			file []byte
			want string
		}{fmt.Sprintf("cut at %d", cut), good[:cut], "EOF"})
	}
	for _, c := range []Compression{Gzip, Zstd} {
		packed := segment(t, grow(t, "f abcdefgh"), SegmentOptions{Compression: c})
		for cut := 8; cut < len(packed); cut += 5 {
			tests = append(tests, struct {
				name string
				file []byte
				want string
			}{fmt.Sprintf("%s cut at %d", c, cut), packed[:cut], "EOF"})
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.file)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%v is marked %d", err, fault.KindOf(err))
			}
		})
	}
}

func TestReaderLimits(t *testing.T) {
	tree := grow(t, "a 1", "b 2")
	if err := tree.Add(BytesFile("zeros", make([]byte, 10<<20), Epoch())); err != nil {
		t.Fatal(err)
	}
	file := segment(t, tree, SegmentOptions{Compression: Zstd})
	for want, l := range map[string]Limits{"more than 2 files": {Entries: 2}, "more than the limit of 1000000 bytes": {Unpacked: 1e6}} {
		_, err := ReadSegments(context.Background(), bytes.NewReader(file), l)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if got, err := ReadSegments(context.Background(), bytes.NewReader(file), Limits{}); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// A file beyond the limit is refused by its header, before its content is read.
func TestReaderRefusesBeforeReading(t *testing.T) {
	content := iotest.ErrReader(errors.New("the content was read"))
	for name, before := range map[string][]byte{
		"first":  nil,
		"second": (&newc{}).add(rawHeader{name: "small", mode: 0o100644, body: strings.Repeat("s", 400)}).end(),
	} {
		file := append(before, (&newc{}).add(rawHeader{name: "big", mode: 0o100644, size: 700}).Bytes()...)
		_, err := ReadSegments(t.Context(), io.MultiReader(bytes.NewReader(file), content), Limits{Unpacked: 1000})
		refused := err != nil && strings.Contains(err.Error(), `with "big", of 700 bytes`)
		if refused != (name == "second") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestLimitsFor(t *testing.T) {
	for stored, want := range map[int64]int64{0: 4 << 30, 36 << 10: 4 << 30, 100 << 20: 25000 << 20, 1 << 30: 32 << 30, 1 << 62: 32 << 30} {
		if got := LimitsFor(stored).Unpacked; got != want {
			t.Errorf("%d bytes may unpack to %d, want %d", stored, got, want)
		}
	}
}

// TestReaderBlamesTheDisk checks that a file that cannot be read is not
// reported as invalid.
func TestReaderBlamesTheDisk(t *testing.T) {
	broken := errors.New("the disk is on fire")
	file := segment(t, grow(t, "a 1"), SegmentOptions{})
	_, err := ReadSegments(context.Background(), io.MultiReader(bytes.NewReader(file[:20]), iotest.ErrReader(broken)), Limits{})
	if !errors.Is(err, broken) || fault.KindOf(err) == fault.Invalid {
		t.Errorf("%v is marked %d", err, fault.KindOf(err))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := ReadSegments(ctx, bytes.NewReader(file), Limits{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestReaderReadsContent(t *testing.T) {
	file := segment(t, grow(t, "a one", "b two", "c/"), SegmentOptions{})
	r := NewReader(context.Background(), iotest.OneByteReader(bytes.NewReader(file)), Limits{})
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("before the first file: %d, %v", n, err)
	}
	var got []string
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2) // the rest is skipped
		n, err := io.ReadFull(r, b)
		if err != nil && rec.Type != Dir {
			t.Fatal(err)
		}
		got = append(got, rec.Path+" "+string(b[:n]))
	}
	if diff := cmp.Diff([]string{"a on", "b tw", "c "}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzReader(f *testing.F) {
	f.Add((&newc{}).add(rawHeader{name: "a", ino: 5, nlink: 2, mode: 0o100644, body: "1"}).add(rawHeader{name: "b", ino: 5, nlink: 2, mode: 0o100644}).end())
	tree := &Tree{}
	if err := tree.Add(BytesFile("d/f", []byte("content"), time.Unix(1, 0))); err != nil {
		f.Fatal(err)
	}
	for _, c := range []Compression{None, Gzip, Zstd} {
		f.Add(segment(f, tree, SegmentOptions{Compression: c}))
	}
	f.Add([]byte("\x02\x21\x4c\x18\x04\x00\x00\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, file []byte) {
		var spool bytes.Buffer
		got, err := Load(context.Background(), bytes.NewReader(file), struct {
			io.Writer
			io.ReaderAt
		}{&spool, nil}, "a test", Limits{Unpacked: 1 << 20, Entries: 1000}, nil)
		if err != nil {
			return
		}
		checkTree(t, got.Tree)
		for _, s := range got.Segments {
			if s.Size <= 0 || s.Offset+s.Size > int64(len(file)) {
				t.Errorf("segment %+v in %d bytes", s, len(file))
			}
		}
	})
}
