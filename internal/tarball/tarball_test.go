package tarball

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// member is one file for archive; Body is its content.
type member struct {
	tar.Header
	Body string
}

// archive writes members as a tar archive. A zero Typeflag is a regular file.
func archive(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		if m.Typeflag == 0 {
			m.Typeflag = tar.TypeReg
		}
		m.Size = int64(len(m.Body))
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.Body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func file(name, body string) member {
	return member{tar.Header{Name: name, Mode: 0o644}, body}
}

func symlink(name, target string) member {
	return member{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}}
}

func hardLink(name, target string) member {
	return member{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}}
}

func dir(name string) member {
	return member{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}}
}

func read(data []byte) ([]initramfs.Entry, error) {
	return Entries(bytes.NewReader(data), int64(len(data)), "layer 1")
}

// bodies reads the content of every regular file.
func bodies(t *testing.T, entries []initramfs.Entry) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, e := range entries {
		if e.Type != initramfs.Regular {
			continue
		}
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		if int64(len(body)) != e.Size {
			t.Errorf("%q has %d bytes and says %d", e.Path, len(body), e.Size)
		}
		all[e.Path] = string(body)
	}
	return all
}

func TestEntriesTranslatesEverythingAFileHas(t *testing.T) {
	when := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)
	long := strings.Repeat("a-long-name/", 30) + "file"
	data := archive(t,
		member{Header: tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o1777}},
		member{tar.Header{Name: "./bin//su", Mode: 0o4755, Uid: 1, Gid: 70000, ModTime: when, Format: tar.FormatPAX, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": "\x01\x00\x00\x02", "SCHILY.xattr.user.x": "y", "comment": "no",
		}}, "program"},
		member{Header: tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8, Devminor: 300}},
		member{Header: tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
		member{Header: tar.Header{Name: "fifo", Typeflag: tar.TypeFifo}},
		symlink("etc/mtab", "/proc/../../mounts"),
		hardLink("bin/sudo", "./bin/su"),
		hardLink("bin/doas", "/bin/su"),
		file(long, "deep"), file("odd \n\xff\"name", "odd"), file("etc/.wh.gone", ""),
		file("twice", "first"), file("twice", "second"),
		member{Header: tar.Header{Name: "big-ids", Uid: math.MaxUint32, Gid: 1 << 21, Format: tar.FormatGNU}},
	)
	got, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	zero := time.Unix(0, 0).UTC()
	want := []initramfs.Entry{
		{Path: "", Type: initramfs.Dir, Mode: 0o1777, ModTime: zero},
		{Path: "bin/su", Mode: 0o4755, UID: 1, GID: 70000, ModTime: when, Size: 7, Xattrs: map[string]string{"security.capability": "\x01\x00\x00\x02", "user.x": "y"}},
		{Path: "dev/sda", Type: initramfs.BlockDevice, Major: 8, Minor: 300, ModTime: zero},
		{Path: "dev/null", Type: initramfs.CharDevice, Major: 1, Minor: 3, ModTime: zero},
		{Path: "fifo", Type: initramfs.Fifo, ModTime: zero},
		{Path: "etc/mtab", Type: initramfs.Symlink, Target: "/proc/../../mounts", ModTime: zero},
		{Path: "bin/sudo", Type: initramfs.HardLink, Target: "bin/su", ModTime: zero},
		{Path: "bin/doas", Type: initramfs.HardLink, Target: "bin/su", ModTime: zero},
		{Path: long, Mode: 0o644, Size: 4, ModTime: zero},
		{Path: "odd \n\xff\"name", Mode: 0o644, Size: 3, ModTime: zero},
		{Path: "etc/.wh.gone", Mode: 0o644, ModTime: zero},
		{Path: "twice", Mode: 0o644, Size: 5, ModTime: zero},
		{Path: "twice", Mode: 0o644, Size: 6, ModTime: zero},
		{Path: "big-ids", UID: math.MaxUint32, GID: 1 << 21, ModTime: zero},
	}
	for i := range want {
		want[i].Origin = "layer 1"
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(initramfs.Entry{}, "Open")); diff != "" {
		t.Error(diff)
	}
	if body := bodies(t, got)["bin/su"]; body != "program" {
		t.Errorf("bin/su contains %q", body)
	}
}

func TestContentsAreReadInPlaceAndAtOnce(t *testing.T) {
	entries, err := read(archive(t, file("a", strings.Repeat("a", 1000)), file("b", strings.Repeat("b", 2000))))
	if err != nil {
		t.Fatal(err)
	}
	a, err := entries[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := entries[1].Open()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		var x, y [100]byte
		if _, err := io.ReadFull(a, x[:]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(b, y[:]); err != nil {
			t.Fatal(err)
		}
		if x[99] != 'a' || y[99] != 'b' {
			t.Fatalf("got %q and %q", x[99], y[99])
		}
	}
}

func TestUnsafePathsAreRefused(t *testing.T) {
	for name, members := range map[string][]member{
		"dot-dot":                          {file("a/../../etc/passwd", "x")},
		"dot-dot inside":                   {file("a/../b", "x")},
		"absolute":                         {file("/etc/passwd", "x")},
		"through a symlink":                {symlink("out", "/"), file("out/etc/passwd", "x")},
		"through a symlink, deep":          {symlink("a/out", "/"), file("a/out/b/c/d", "x")},
		"through a symlink to here":        {symlink("here", "."), dir("here/sub")},
		"through a file":                   {file("f", "x"), file("f/g", "x")},
		"through a device":                 {{Header: tar.Header{Name: "d", Typeflag: tar.TypeChar}}, file("d/g", "x")},
		"through a hard link":              {file("f", ""), hardLink("l", "f"), file("l/g", "x")},
		"hard link to dot-dot":             {hardLink("shadow", "../../etc/shadow")},
		"hard link through a symlink":      {symlink("out", "/etc"), hardLink("shadow", "out/shadow")},
		"symlink in the place of the root": {symlink("./", "/tmp")},
		"file in the place of the root":    {file(".", "x")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(archive(t, members...))
			if !errors.Is(err, initramfs.ErrUnsafePath) || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "layer 1") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A directory may take the place of a symlink, and files then lie below it.
func TestDirectoryOverSymlinkIsSafe(t *testing.T) {
	if _, err := read(archive(t, symlink("d", "/"), dir("d"), file("d/x", ""))); err != nil {
		t.Error(err)
	}
}

func TestBrokenArchivesAreRefused(t *testing.T) {
	whole := archive(t, file("first", strings.Repeat("1", 1000)), file("second", strings.Repeat("2", 1000)))
	garbled := bytes.Clone(whole)
	garbled[5]++
	for name, tc := range map[string]struct {
		data []byte
		want error
	}{
		"cut in a header":          {whole[:1536+100], io.ErrUnexpectedEOF},
		"cut in the first content": {whole[:700], io.ErrUnexpectedEOF},
		"cut in the last content":  {whole[:1536+512+999], io.ErrUnexpectedEOF},
		"wrong checksum":           {garbled, tar.ErrHeader},
		"not an archive":           {bytes.Repeat([]byte("<html>"), 500), tar.ErrHeader},
		"oversized PAX header":     {oversizedPAX(t), tar.ErrFieldTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(tc.data)
			if !errors.Is(err, tc.want) || fault.KindOf(err) != fault.Invalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func oversizedPAX(t *testing.T) []byte {
	t.Helper()
	body := strings.Repeat("x", 2<<20)
	data := archive(t, member{tar.Header{Name: "PaxHeaders/x", Mode: 0o644}, body})
	data[156] = 'x'
	return resum(data)
}

// resum corrects the checksum of an archive's first header.
func resum(data []byte) []byte {
	copy(data[148:156], "        ")
	sum := 0
	for _, b := range data[:512] {
		sum += int(b)
	}
	copy(data[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

func TestUnknownTypeIsRefused(t *testing.T) {
	data := archive(t, file("volume", ""))
	data[156] = 'V'
	if _, err := read(resum(data)); err == nil || !strings.Contains(err.Error(), `"volume"`) {
		t.Errorf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	data := archive(t, file("one", ""), file("two", ""), file("three", ""))
	for name, tc := range map[string]struct {
		most limits
		ok   bool
	}{
		"enough":            {limits{entries: 3, metadata: 11}, true},
		"too many files":    {limits{entries: 2, metadata: 100}, false},
		"too long metadata": {limits{entries: 3, metadata: 10}, false},
	} {
		_, err := entries(bytes.NewReader(data), int64(len(data)), "x", tc.most)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGlobalHeadersArePassedOver(t *testing.T) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := errors.Join(
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "0123"}}),
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "file"}), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(out.Bytes())
	if err != nil || len(got) != 1 || got[0].Path != "file" {
		t.Errorf("got %v, %v", got, err)
	}
}

// A disk that cannot be read is not the archive's fault.
func TestReadErrorIsNoInvalidInput(t *testing.T) {
	_, err := Entries(errReaderAt{}, 10240, "layer 1")
	if !errors.Is(err, iotest.ErrTimeout) || fault.KindOf(err) == fault.Invalid {
		t.Errorf("got %v", err)
	}
}

type errReaderAt struct{}

func (errReaderAt) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }
