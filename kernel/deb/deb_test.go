package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"hookbuild/internal/fault"
	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

// ar packs members given as name, content, name, content...
func ar(members ...string) []byte {
	out := []byte(arMagic)
	for i := 0; i < len(members); i += 2 {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", members[i], 0, 0, 0, "100644", len(members[i+1]))
		out = append(out, members[i+1]...)
		if len(members[i+1])%2 == 1 {
			out = append(out, '\n')
		}
	}
	return out
}

// tarOf packs files given as name, content...
func tarOf(t testing.TB, files ...string) string {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestOpen(t *testing.T) {
	control := tarOf(t, "./md5sums", "x", "./control", "Package: linux-image\nVersion: 1-2\nArchitecture: amd64\nDepends: kmod (>= 1), linux-base | x:any,\n initramfs-tools\nDescription: short\n long\n")
	data := tarOf(t, "./boot/vmlinuz-1", "kernel")
	packed := ar("debian-binary", "2.0\n", "control.tar", control, "data.tar/", data)
	p, err := Open(bytes.NewReader(packed), int64(len(packed)), "x.deb")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Name(); got != "linux-image 1-2 (amd64)" {
		t.Errorf("the name is %q", got)
	}
	if got := p.Depends(); !slices.Equal(got, []string{"kmod", "linux-base", "x", "initramfs-tools"}) {
		t.Errorf("the dependencies are %q", got)
	}
	r, err := p.Data(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != data {
		t.Errorf("the data archive is %d bytes, %v; want %d", len(got), err, len(data))
	}
}

func TestBadPackages(t *testing.T) {
	control := tarOf(t, "control", "Package: p\n")
	whole := ar("debian-binary", "2.0\n", "control.tar", control, "data.tar", tarOf(t))
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":         {nil, "an empty file, not a complete Debian package; name a .deb file"},
		"page":          {[]byte("<!DOCTYPE html>"), "an HTML or XML page, not a complete"},
		"cut":           {whole[:len(whole)-100], "fetch the file again"},
		"cut in header": {whole[:len(arMagic)+20], "ends inside a member's header"},
		"library":       {ar("x.o", "abc"), "no debian-binary"},
		"no data":       {ar("debian-binary", "2.0\n", "control.tar", control), "no data.tar"},
		"no control":    {ar("debian-binary", "2.0\n", "data.tar", control), "no control.tar"},
		"lzma":          {ar("debian-binary", "2.0\n", "control.tar.lzma", control, "data.tar", ""), `compressed with "lzma"`},
		"empty control": {ar("debian-binary", "2.0\n", "control.tar", tarOf(t, "x", ""), "data.tar", ""), "holds no control file"},
		"bad field":     {ar("debian-binary", "2.0\n", "control.tar", tarOf(t, "control", "nonsense\n"), "data.tar", ""), `the line "nonsense"`},
		"negative size": {[]byte(arMagic + fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n", "a", 0, 0, 0, "0", -5)), "has the size"},
	} {
		_, err := Open(bytes.NewReader(c.content), int64(len(c.content)), "x.deb")
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"x.deb"`) {
			t.Errorf("%s: the error is %v; it should say %q", name, err, c.want)
		}
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: the fault is not the input's: %v", name, err)
		}
	}
}

// TestAgainstDpkg compares the data archive of a real package with the output
// of dpkg-deb, reading both in parallel and in order.
func TestAgainstDpkg(t *testing.T) {
	path := kerneltest.CloudKernel(t, "amd64")
	out, err := exec.Command(testneed.Tool(t, "dpkg-deb"), "--fsys-tarfile", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(out)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(f, info.Size(), path)
	if err != nil {
		t.Fatal(err)
	}
	if blocks, err := readXZIndex(io.NewSectionReader(f, p.data.offset, p.data.size), p.data.size); err == nil && len(blocks) < 2 {
		t.Errorf("the archive has %d block, so nothing ran in parallel", len(blocks))
	}
	r, err := p.Data(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if [32]byte(h.Sum(nil)) != want {
		t.Error("our data archive differs from dpkg-deb's")
	}
}

// TestXZBlocks damages each part of a stream of several blocks.
func TestXZBlocks(t *testing.T) {
	tool := testneed.Tool(t, "xz")
	plain := bytes.Repeat([]byte("hook and line and sinker "), 4000)
	command := exec.Command(tool, "-c", "--block-size=30000", "-T2")
	command.Stdin = bytes.NewReader(plain)
	packed, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) ([]byte, error) {
		blocks, err := readXZIndex(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return nil, err
		}
		r := newXZReader(bytes.NewReader(b), blocks)
		defer r.Close()
		return io.ReadAll(r)
	}
	if got, err := read(packed); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("%d bytes, %v; want %d", len(got), err, len(plain))
	}
	for at := 6; at < len(packed); at += 5 {
		bad := bytes.Clone(packed)
		bad[at] ^= 0x10
		if got, err := read(bad); err == nil && !bytes.Equal(got, plain) {
			t.Fatalf("byte %d damaged: %d wrong bytes and no error", at, len(got))
		}
	}
	if _, err := read(packed[:len(packed)-40]); !errors.Is(err, errNotSimple) {
		t.Errorf("reading a cut stream: %v", err)
	}
	if _, err := read(append(bytes.Clone(packed), packed...)); !errors.Is(err, errNotSimple) {
		t.Errorf("reading two streams: %v", err)
	}
}

// Unpacking ends with its context, also in the middle of a block.
func TestUnpackingEndsWithTheContext(t *testing.T) {
	tool := testneed.Tool(t, "xz")
	plain := make([]byte, 8<<20)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(plain), func(i, j int) { plain[i] = byte(i * j >> 7) })
	for name, option := range map[string]string{"blocks": "--block-size=4MiB", "one block": "-T1"} {
		command := exec.Command(tool, "-0c", option)
		command.Stdin = bytes.NewReader(plain)
		packed, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		file := ar("debian-binary", "2.0\n", "control.tar", tarOf(t, "control", "Package: p\n"), "data.tar.xz", string(packed))
		ctx, cancel := context.WithCancel(t.Context())
		source := &cancelling{ReaderAt: bytes.NewReader(file), after: int64(len(file) / 16), cancel: cancel}
		p, err := Open(source, int64(len(file)), "x.deb")
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Data(ctx)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v", name, err)
		}
		if n := source.read.Load(); n > int64(len(file)/4) {
			t.Errorf("%s: %d bytes of %d were read", name, n, len(file))
		}
	}
}

// cancelling cancels once so many bytes have been read.
type cancelling struct {
	io.ReaderAt
	after  int64
	cancel func()
	read   atomic.Int64
}

func (c *cancelling) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	if c.read.Add(int64(n)) >= c.after {
		c.cancel()
	}
	return n, err
}

// TestDamagedBlock reads on after an error, as a caller may that looks for more.
func TestDamagedBlock(t *testing.T) {
	damaged := errors.New("damaged")
	result := make(chan xzResult, 1)
	result <- xzResult{err: damaged}
	r := &xzReader{pending: []chan xzResult{result}, done: make(chan struct{})}
	for range 2 {
		if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, damaged) {
			t.Errorf("read %d bytes, %v", n, err)
		}
	}
}

// TestEmptyBlocks uses more empty blocks than are unpacked at once.
func TestEmptyBlocks(t *testing.T) {
	r := &xzReader{done: make(chan struct{})}
	for _, content := range []string{"", "", "", "", "", "x", "", "y", ""} {
		result := make(chan xzResult, 1)
		r.pending = append(r.pending, result)
		r.start = append(r.start, func() { result <- xzResult{content: []byte(content)} })
	}
	r.startNext()
	r.startNext()
	if got, err := io.ReadAll(r); err != nil || string(got) != "xy" {
		t.Errorf("read %q, %v", got, err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(ar("debian-binary", "2.0\n", "control.tar", tarOf(f, "control", "Package: p\n"), "data.tar", tarOf(f, "boot/vmlinuz", "x")))
	f.Add(ar("debian-binary", "2.0\n", "control.tar.xz", "\xfd7zXZ\x00", "data.tar.xz", "\xfd7zXZ\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		p, err := Open(bytes.NewReader(content), int64(len(content)), "x")
		if err != nil {
			return
		}
		r, err := p.Data(t.Context())
		if err != nil {
			return
		}
		defer r.Close()
		if n, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20)); err == nil && n > int64(len(content))*2000 {
			t.Errorf("%d bytes became %d", len(content), n)
		}
	})
}
