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
		member{Header: tar.Header{Name: "big-ids", Uid: math.MaxUint32 - 1, Gid: 1 << 21, Format: tar.FormatGNU}},
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
		{Path: "big-ids", UID: math.MaxUint32 - 1, GID: 1 << 21, ModTime: zero},
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
		"dot-dot":                     {file("../etc/passwd", "x")},
		"dot-dot below a directory":   {file("a/../../etc/passwd", "x")},
		"through a dangling symlink":  {symlink("a", "nowhere"), file("a/x", "x")},
		"through it, deep":            {symlink("a", "nowhere"), file("a/b/x", "x")},
		"through half a symlink":      {dir("b"), symlink("a", "b/c"), file("a/x", "x")},
		"through a loop":              {symlink("a", "b"), symlink("b", "a"), file("a/x", "x")},
		"through a loop to itself":    {symlink("a", "a"), file("a/x", "x")},
		"through a file":              {file("f", "x"), file("f/g", "x")},
		"through a symlink to a file": {file("f", "x"), symlink("s", "f"), file("s/g", "x")},
		"through a symlink in a file": {file("f", "x"), symlink("s", "f/d"), file("s/g", "x")},
		"through a device":            {{Header: tar.Header{Name: "d", Typeflag: tar.TypeChar}}, file("d/g", "x")},
		"through a hard link":         {file("f", ""), hardLink("l", "f"), file("l/g", "x")},
		"hard link to dot-dot":        {hardLink("shadow", "../../etc/shadow")},
		"hard link through a file":    {file("f", ""), hardLink("l", "f/g")},
		"a file in the root's place":  {file("/.", "x")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(archive(t, members...))
			if !errors.Is(err, initramfs.ErrUnsafePath) || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "layer 1") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Names lead where dockerd would unpack to, never out of the archive's root.
func TestPathsAreResolvedInsideTheRoot(t *testing.T) {
	for name, test := range map[string]struct {
		members []member
		want    string
	}{
		"absolute":                    {[]member{file("/etc/passwd", "")}, "etc/passwd"},
		"two slashes":                 {[]member{file("//etc//passwd", "")}, "etc/passwd"},
		"the root":                    {[]member{dir("/"), file("a", "")}, " a"},
		"a file called dot":           {[]member{file(".", "x"), symlink("./", "/tmp"), file("a", "")}, "a"},
		"absolute dot-dot":            {[]member{file("/../a", "")}, "a"},
		"dot-dot in the text":         {[]member{symlink("s", "/x"), file("s/../a", "")}, "s a"},
		"through a relative symlink":  {[]member{dir("usr/lib"), symlink("lib", "usr/lib"), file("lib/x", ""), file("lib/new/y", "")}, "usr/lib lib usr/lib/x usr/lib/new/y"},
		"through an absolute symlink": {[]member{symlink("out", "/"), file("out/etc/x", "")}, "out etc/x"},
		"through a symlink up":        {[]member{dir("a"), dir("etc"), symlink("a/out", "../../../../etc"), file("a/out/x", "")}, "a etc a/out etc/x"},
		"through a chain":             {[]member{dir("c/d"), symlink("b", "c"), symlink("a", "b/d/./../d"), file("a/x", "")}, "c/d b a c/d/x"},
		"through a linked symlink":    {[]member{dir("d"), symlink("s", "d"), hardLink("l", "s"), file("l/x", "")}, "d s l d/x"},
		"a symlink's place":           {[]member{dir("d"), symlink("s", "d"), file("s", "")}, "d s s"},
		"whiteouts":                   {[]member{dir("d"), symlink("s", "d"), file("s/.wh.x", "")}, "d s d/.wh.x"},
		"directory, then symlink":     {[]member{file("d/x", ""), dir("e"), symlink("d", "e"), file("d/y", "")}, "d/x e d e/y"},
	} {
		got, err := read(archive(t, test.members...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var paths []string
		for _, e := range got {
			paths = append(paths, e.Path)
		}
		if strings.Join(paths, " ") != test.want {
			t.Errorf("%s: %q, want %q", name, paths, test.want)
		}
	}
}

func TestHardLinksNameTheFilesThemselves(t *testing.T) {
	got, err := read(archive(t, dir("b"), file("b/f", ""), symlink("a", "/b"), hardLink("l", "a/f"), hardLink("m", "/b/../b/f"), hardLink("n", "a/later")))
	if err != nil {
		t.Fatal(err)
	}
	if got[3].Target != "b/f" || got[4].Target != "b/f" || got[5].Target != "b/later" {
		t.Errorf("%q %q %q", got[3].Target, got[4].Target, got[5].Target)
	}
}

func TestWhatLinuxDoesNotTakeIsRefused(t *testing.T) {
	deep := strings.Repeat("d/", 1000)
	for name, members := range map[string][]member{
		"a long name":                {file(strings.Repeat("n", 256), "")},
		"a long path":                {file(strings.Repeat("d/", 10000)+"f", "")},
		"a long path by symlinks":    {file(deep+"f", ""), symlink("s", deep), symlink(deep+"s", "."), dir("s/" + deep + "x"), symlink("t", "s/"+deep), file("t/"+deep+"f", "")},
		"a symlink to nothing":       {symlink("s", "")},
		"a long target":              {symlink("s", strings.Repeat("t", 4096))},
		"a hard link to a directory": {dir("d"), hardLink("l", "d")},
	} {
		if _, err := read(archive(t, members...)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := read(archive(t, file(strings.Repeat("n", 255), ""), symlink("s", strings.Repeat("t", 4095)))); err != nil {
		t.Error(err)
	}
}

// Directories that a name implies count as files: a few names of some thousand
// bytes imply more than fit into memory.
func TestImpliedDirectoriesAreBounded(t *testing.T) {
	var members []member
	for i := range 100 {
		members = append(members, file(fmt.Sprintf("%d/", i)+strings.Repeat("d/", 2000)+"f", ""))
	}
	data := archive(t, members...)
	if _, err := read(data); err == nil || !strings.Contains(err.Error(), "bytes of names") {
		t.Errorf("got %v", err)
	}
}

func TestOwnersAndDevicesAreCutAsSystemCallsDo(t *testing.T) {
	gnu := func(h tar.Header) member {
		h.Format = tar.FormatGNU
		return member{Header: h}
	}
	data := archive(t,
		gnu(tar.Header{Name: "wide", Uid: 1<<32 + 5, Gid: 1<<33 + 6}), gnu(tar.Header{Name: "negative", Uid: -2, Gid: -1}),
		gnu(tar.Header{Name: "all ones", Uid: 1<<32 - 1}), gnu(tar.Header{Name: "fine", Uid: 1<<32 - 2}),
		gnu(tar.Header{Name: "device", Typeflag: tar.TypeChar, Devmajor: 4096 + 8, Devminor: 1<<20 + 1}),
		gnu(tar.Header{Name: "negative device", Typeflag: tar.TypeBlock, Devmajor: -1, Devminor: -1}),
		gnu(tar.Header{Name: "device of a file", Devmajor: 1 << 30}))
	told := map[string]Adjustment{}
	got, err := List(bytes.NewReader(data), int64(len(data)), "x", Options{Adjusted: func(name string, a Adjustment) { told[name] = a }})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range got {
		lines = append(lines, fmt.Sprintf("%s %d:%d %d,%d", e.Path, e.UID, e.GID, e.Major, e.Minor))
	}
	want := []string{
		"wide 5:6 0,0", "negative 4294967294:0 0,0", "all ones 0:0 0,0", "fine 4294967294:0 0,0",
		"device 0:0 8,1", "negative device 0:0 4095,1048575", "device of a file 0:0 0,0",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	wantTold := map[string]Adjustment{"wide": OwnerCut, "negative": OwnerCut, "all ones": OwnerCut, "device": DeviceCut, "negative device": DeviceCut}
	if diff := cmp.Diff(wantTold, told); diff != "" {
		t.Error(diff)
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
		"not an archive":           {bytes.Repeat([]byte("<html>"), 500), ErrNotTar},
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
	link := member{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "d", Linkname: "././."}} // three steps
	data := archive(t, link, file("d/one", ""), file("two", ""), file("d/three", ""))
	for name, tc := range map[string]struct {
		most limits
		ok   bool
	}{
		"enough":            {limits{entries: 4, metadata: 17, steps: 6}, true},
		"too many files":    {limits{entries: 3, metadata: 100, steps: 100}, false},
		"too long metadata": {limits{entries: 4, metadata: 16, steps: 100}, false},
		"too many links":    {limits{entries: 4, metadata: 100, steps: 5}, false},
	} {
		_, err := entries(bytes.NewReader(data), int64(len(data)), "x", Options{}, tc.most)
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
