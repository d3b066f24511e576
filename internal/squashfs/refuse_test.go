package squashfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

func TestWriteRefuses(t *testing.T) {
	broken := errors.New("the disk is on fire")
	opens := func(r io.Reader) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(r), nil }
	}
	body := func(size int64, content string) initramfs.Entry {
		return initramfs.Entry{Size: size, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
	}
	tests := []struct {
		name  string
		entry initramfs.Entry
		want  string
	}{
		{"short", body(5, "1234"), `writing "f" of here into a squashfs: its content ends 1 bytes early`},
		{"long", body(3, "1234"), "its content is longer than its 3 bytes"},
		{"not empty", body(0, "1"), "its content is longer than its 0 bytes"},
		{"short in a later block", body(300<<10, strings.Repeat("1", 290<<10)), "bytes early"},
		{"long at a block's end", body(256<<10, strings.Repeat("1", 256<<10+1)), "longer than its 262144 bytes"},
		{"cannot open", initramfs.Entry{Size: 1, Open: func() (io.ReadCloser, error) { return nil, broken }}, "opening its content: the disk is on fire"},
		{"cannot read", initramfs.Entry{Size: 1, Open: opens(iotest.ErrReader(broken))}, "the disk is on fire"},
		{"cannot read on", initramfs.Entry{Open: opens(iotest.ErrReader(broken))}, "reading its content: the disk is on fire"},
		{"negative", body(-1, ""), "its size -1 is not between 0 and 1099511627776"},
		{"huge", body(1<<50, ""), "its size 1125899906842624"},
		{"type", initramfs.Entry{Type: 77}, "squashfs cannot hold a type 77"},
		{"mode", initramfs.Entry{Mode: 0o100644}, "its mode 0100644 has more than permission bits"},
		{"no target", initramfs.Entry{Type: initramfs.Symlink}, "its target has 0 bytes"},
		{"long target", initramfs.Entry{Type: initramfs.Symlink, Target: strings.Repeat("x", 4096)}, "its target has 4096 bytes"},
		{"major", initramfs.Entry{Type: initramfs.BlockDevice, Major: 4096}, "its device number 4096:0 is beyond 4095:1048575"},
		{"minor", initramfs.Entry{Type: initramfs.CharDevice, Minor: 1 << 20}, "its device number 0:1048576"},
		{"early", initramfs.Entry{ModTime: time.Unix(-1, 0)}, "its modification time 1969-12-31T23:59:59Z is outside 1970 to 2106"},
		{"late", initramfs.Entry{ModTime: time.Unix(1<<32, 0)}, "its modification time"},
		{"attribute", initramfs.Entry{Xattrs: map[string]string{"system.posix_acl_access": "x"}}, `squashfs cannot hold its attribute "system.posix_acl_access", only user.*, trusted.*, security.*`},
		{"attribute's name", initramfs.Entry{Xattrs: map[string]string{"user.": "x"}}, "is not valid on Linux"},
		{"attribute's value", initramfs.Entry{Xattrs: map[string]string{"user.x": strings.Repeat("x", 64<<10+1)}}, "of 65537 bytes is not valid on Linux"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree := &initramfs.Tree{}
			test.entry.Path, test.entry.Origin = "f", "here"
			add(t, tree, file("big", 1<<20, "noise"), test.entry)
			_, err := Write(context.Background(), &memory{}, tree, Options{Jobs: 2})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	tree := &initramfs.Tree{}
	add(t, tree, file(strings.Repeat("x", 256), 1, "1"))
	same(t, tree, read(t, made(t, tree, Options{})))
	add(t, tree, initramfs.Entry{Path: strings.Repeat("x", 257), Type: initramfs.Dir})
	_, err := Write(context.Background(), &memory{}, tree, Options{})
	if err == nil || !strings.Contains(err.Error(), "of an unnamed source into a squashfs: its name has 257 bytes; squashfs allows 256") {
		t.Error(err)
	}
}

func TestOwners(t *testing.T) {
	tree := &initramfs.Tree{}
	for i := range uint32(1 << 16) {
		e := initramfs.Entry{Path: string([]byte{'a' + byte(i>>12), 'a' + byte(i>>8&15), 'a' + byte(i>>4&15), 'a' + byte(i&15)}), Type: initramfs.Fifo, UID: i + 1}
		add(t, tree, e)
	}
	_, err := Write(context.Background(), &memory{}, tree, Options{})
	if err == nil || !strings.Contains(err.Error(), "no more than 65535 different owners") {
		t.Error(err)
	}
	tree.Remove("pppp")
	tree.Remove("pppo") // root is an owner, too
	made(t, tree, Options{Level: 1})
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]Options{
		`compressing with "lzo": choose gzip, zstd or xz`: {Compression: "lzo"},
		"compressing with gzip level 10":                  {Level: 10},
		"compressing with zstd level -1":                  {Compression: Zstd, Level: -1},
		"compressing with xz level 1: choose 0":           {Compression: XZ, Level: 1},
		"choosing block size 2048":                        {BlockSize: 2048},
		"choosing block size 2097152":                     {BlockSize: 2 << 20},
		"choosing block size 5000":                        {BlockSize: 5000},
		"is outside 1970 to 2106":                         {ModTime: time.Unix(-5, 0)},
	} {
		_, err := Write(context.Background(), &memory{}, &initramfs.Tree{}, o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// fullDisk fails after a number of bytes.
type fullDisk struct{ room int64 }

func (d fullDisk) WriteAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > d.room {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

func TestFullDisk(t *testing.T) {
	tree := &initramfs.Tree{}
	add(t, tree, file("noise", 3<<20, "noise"), file("a", 1, "a"))
	for _, room := range []int64{0, 5 << 10, 1 << 20, 3 << 20} {
		if _, err := Write(context.Background(), fullDisk{room}, tree, Options{}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("with room for %d: %v", room, err)
		}
	}
}

// TestInterrupted checks that everything stops when the context ends.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tree := &initramfs.Tree{}
	var opened atomic.Int32
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		e := file(name, 5<<20+len(name), name)
		open := e.Open
		e.Open = func() (io.ReadCloser, error) {
			if opened.Add(1) == 3 {
				cancel()
			}
			return open()
		}
		add(t, tree, e)
	}
	before := runtime.NumGoroutine()
	if _, err := Write(ctx, &memory{}, tree, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// The runtime's own goroutines, such as the collector's, come and go.
	for tries := 0; runtime.NumGoroutine() > before; tries++ {
		if tries == 500 {
			t.Fatalf("%d goroutines became %d", before, runtime.NumGoroutine())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := opened.Load(); n > 4 {
		t.Errorf("%d files were opened", n)
	}
	image := made(t, &initramfs.Tree{}, Options{})
	i, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Tree(ctx, "a test"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestOpenRefuses changes single fields of a superblock.
func TestOpenRefuses(t *testing.T) {
	good := made(t, everything(t), Options{})
	set := func(at int, value ...byte) []byte { return slices.Concat(good[:at], value, good[at+len(value):]) }
	tests := []struct {
		name  string
		image []byte
		want  string
	}{
		{"empty", nil, "this is not a squashfs"},
		{"magic", set(0, 'x'), "this is not a squashfs"},
		{"version", set(28, 3), "squashfs version 3.0 is not supported"},
		{"block size", set(12, 0, 0, 3), "the block size 196608 (2^17) is invalid"},
		{"block log", set(22, 16), "the block size 131072 (2^16) is invalid"},
		{"compression", set(20, 9), "its compression 9 is unknown"},
		{"lzo", set(20, 3), "its compression lzo is not supported; make it again"},
		{"cut", good[:len(good)-4096], "are cut off at"},
		{"tables", set(64, set(72)[72:80]...), "its tables are out of order"},
		{"root's place", set(33, 0xff), "is beyond the metadata block"},
		{"root", set(32, 200), "reading the squashfs a test"},
		{"inodes", set(67, 1), "its tables are out of order"},
		{"fragments", set(82, 0xff), "its tables are out of order"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i, err := Open(bytes.NewReader(test.image), int64(len(test.image)))
			if err == nil {
				_, err = i.Tree(context.Background(), "a test")
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%v is marked %d", err, fault.KindOf(err))
			}
		})
	}
}

// drain reads all of an image that may be damaged, up to a limit.
func drain(image []byte) error {
	i, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		return err
	}
	tree, err := i.Tree(context.Background(), "a test")
	if err != nil {
		return err
	}
	for e := range tree.All() {
		if e.Open == nil || e.Size > 8<<20 {
			continue
		}
		r, err := e.Open()
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
	}
	return nil
}

// TestDamaged flips bytes everywhere: the result may be an error or other
// content, but never a panic or an endless loop.
func TestDamaged(t *testing.T) {
	tree := grown(11)
	add(t, tree, wideDir(t)...)
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, o := range []Options{{}, {Compression: Zstd}, {BlockSize: 4096}} {
		good := made(t, tree, o)
		plain := unpacked(t, good)
		for _, image := range [][]byte{good, plain} {
			if err := drain(image); err != nil {
				t.Fatal(err)
			}
			for range 60 {
				bad := bytes.Clone(image)
				for range 1 + rnd.IntN(3) {
					at := rnd.IntN(len(bad))
					if rnd.IntN(2) == 0 { // the tables are at the end
						at = len(bad) - 1 - rnd.IntN(min(len(bad), 12<<10))
					}
					bad[at] ^= byte(1 + rnd.IntN(255))
				}
				_ = drain(bad)
			}
		}
	}
}

func wideDir(t *testing.T) []initramfs.Entry {
	t.Helper()
	return slices.Collect(wide(t, 300).All())
}

// unpacked returns the image with uncompressed metadata, so that damage hits
// the metadata itself.
func unpacked(t *testing.T, image []byte) []byte {
	t.Helper()
	tree := read(t, image)
	p, err := newPlan(tree, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := Options{}.fill()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := p.share(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	var m memory
	w := &imageWriter{plan: p, options: o, comp: rawCompressor{}, out: newOutput(&m)}
	if err := w.write(context.Background(), stored); err != nil {
		t.Fatal(err)
	}
	return m.b
}

// rawCompressor leaves everything uncompressed.
type rawCompressor struct{}

func (rawCompressor) compress(_ context.Context, out, in []byte) ([]byte, error) {
	return append(out, in...), nil
}

func FuzzRead(f *testing.F) {
	tree := &initramfs.Tree{}
	if err := tree.Add(initramfs.BytesFile("d/f", []byte(strings.Repeat("content", 1000)), time.Unix(1, 0))); err != nil {
		f.Fatal(err)
	}
	e := initramfs.BytesFile("x", []byte("y"), time.Unix(1, 0))
	e.Xattrs = map[string]string{"user.x": "y"}
	if err := tree.Add(e); err != nil {
		f.Fatal(err)
	}
	for _, c := range []Compression{Gzip, Zstd, XZ} {
		f.Add(made(f, tree, Options{Compression: c, BlockSize: 4096}))
	}
	f.Fuzz(func(_ *testing.T, image []byte) { _ = drain(image) })
}

// FuzzRoundTrip writes the tree that a script describes and reads it back.
func FuzzRoundTrip(f *testing.F) {
	f.Add("a/b 1\nc=a/b\nd>a\ne/\n", uint16(4096), uint8(0))
	f.Add("zzz 70000\ny=zzz\nq 70000\nr 69999\n", uint16(30), uint8(1))
	f.Fuzz(func(t *testing.T, script string, sizes uint16, flags uint8) {
		tree := &initramfs.Tree{}
		kinds := []string{"zero", "noise", "hole", "text"}
		for n, line := range strings.Split(script, "\n") {
			e := file(line, int(sizes)*(n&3), kinds[n&3])
			if name, target, ok := strings.Cut(line, "="); ok {
				e = initramfs.Entry{Path: name, Type: initramfs.HardLink, Target: target}
			} else if name, target, ok := strings.Cut(line, ">"); ok {
				e = initramfs.Entry{Path: name, Type: initramfs.Symlink, Target: target}
			} else if name, ok := strings.CutSuffix(line, "/"); ok {
				e = initramfs.Entry{Path: name, Type: initramfs.Dir, Mode: 0o700, Xattrs: map[string]string{"user.n": name}}
			}
			if n > 100 || tree.Add(e) != nil {
				return
			}
		}
		var m memory
		o := Options{Compression: []Compression{Gzip, Zstd}[flags&1], BlockSize: minBlock << (flags >> 1 & 3), Jobs: 2}
		if _, err := Write(context.Background(), &m, tree, o); err != nil {
			return
		}
		same(t, tree, read(t, m.b))
	})
}

// TestXattrsElsewhere reads a value that is separate from its name, as
// mksquashfs stores long ones that occur twice.
func TestXattrsElsewhere(t *testing.T) {
	x := newXattrWriter(rawCompressor{})
	value := append(binary.LittleEndian.AppendUint32(nil, 5), "value"...)
	if err := x.pairs.write(value); err != nil {
		t.Fatal(err)
	}
	name := append(binary.LittleEndian.AppendUint16(nil, xattrElsewhere|1), 1, 0, 'n', 8, 0, 0, 0)
	if err := x.pairs.write(append(name, make([]byte, 8)...)); err != nil {
		t.Fatal(err)
	}
	if err := x.pairs.flush(); err != nil {
		t.Fatal(err)
	}
	image := append(make([]byte, superblockSize), x.pairs.packed...)
	i := &Image{r: bytes.NewReader(image), super: &superblock{Size: uint64(len(image))}, metadata: newCache(2)}
	got, v, err := i.xattr(i.at(superblockSize, newRef(0, len(value))), superblockSize)
	if err != nil || got != "trusted.n" || v != "value" {
		t.Errorf("%q = %q, %v", got, v, err)
	}
}
