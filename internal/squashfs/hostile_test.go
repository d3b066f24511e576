package squashfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	kernels "github.com/mikelolasagasti/xz" // a port of the kernel's decoder
	"github.com/ulikunitz/xz"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// bare returns an image with uncompressed metadata, of d/a, d/b, e/ and s.
func bare(t *testing.T) []byte {
	t.Helper()
	tree := &initramfs.Tree{}
	add(
		t, tree, file("d/aaa", 200<<10, "text"), file("d/bbb", 5, "other"),
		initramfs.Entry{Path: "eee", Type: initramfs.Dir, Xattrs: map[string]string{"user.x": "value"}},
		initramfs.Entry{Path: "sss", Type: initramfs.Symlink, Target: "target"},
	)
	return unpacked(t, made(t, tree, Options{}))
}

// entryOf returns the position in the image of the directory entry of that
// name.
func entryOf(t *testing.T, image []byte, name string) int {
	t.Helper()
	at := bytes.LastIndex(image, []byte(name))
	if at < 0 {
		t.Fatalf("%q is not in the image", name)
	}
	return at - childHeader
}

// inodeAt returns the position in the image of the inode of that name's entry.
func inodeAt(t *testing.T, image []byte, name string) int {
	t.Helper()
	var s superblock
	if _, err := binary.Decode(image, binary.LittleEndian, &s); err != nil {
		t.Fatal(err)
	}
	return int(s.InodeTable) + 2 + int(binary.LittleEndian.Uint16(image[entryOf(t, image, name):]))
}

// TestHostile changes metadata.
func TestHostile(t *testing.T) {
	const afterHeader = 16 // within an inode
	put16 := func(image []byte, at int, v uint16) { binary.LittleEndian.PutUint16(image[at:], v) }
	put32 := func(image []byte, at int, v uint32) { binary.LittleEndian.PutUint32(image[at:], v) }
	tests := []struct {
		name   string
		change func(image []byte)
		want   string
	}{
		{"a directory in itself", func(i []byte) { put16(i, entryOf(t, i, "eee"), binary.LittleEndian.Uint16(i[32:])) }, `directory "eee" occurs twice`},
		{"other type", func(i []byte) { put16(i, entryOf(t, i, "sss")+4, typeFile) }, `"sss" is listed with another type than its inode's`},
		{"slash", func(i []byte) { i[entryOf(t, i, "sss")+childHeader] = '/' }, `"/ss" is not a file name: unsafe path`},
		{"dots", func(i []byte) { e := entryOf(t, i, "sss"); put16(i, e+6, 1); copy(i[e+childHeader:], "..") }, `".." is not a file name`},
		{"order", func(i []byte) { i[entryOf(t, i, "sss")+childHeader] = 'c' }, `"css" follows "eee"`},
		{"long name", func(i []byte) { put16(i, entryOf(t, i, "sss")+6, 256) }, "an entry has a name of 257 bytes"},
		{"long run", func(i []byte) { put32(i, entryOf(t, i, "aaa")-runHeaderSize, 300) }, "a run has 301 entries"},
		{"far inode", func(i []byte) { put32(i, entryOf(t, i, "aaa")-8, 1<<30) }, "are outside its"},
		{"no inode", func(i []byte) { put16(i, entryOf(t, i, "aaa"), 8000) }, "offset 8000 is beyond the metadata block"},
		{"unknown type", func(i []byte) { put16(i, inodeAt(t, i, "aaa"), 99) }, "its type 92 is unknown"},
		{"owner", func(i []byte) { put16(i, inodeAt(t, i, "aaa")+4, 7) }, "its owner's number 7 is not below 1"},
		{"endless target", func(i []byte) { put32(i, inodeAt(t, i, "sss")+afterHeader+4, 1<<20) }, "its target has 1048576 bytes"},
		{"endless file", func(i []byte) {
			at := inodeAt(t, i, "aaa")
			put16(i, at, typeFile+extended)
			put32(i, at+afterHeader+12, 1<<20)
		}, "bytes are too many"},
		{"attributes", func(i []byte) { put32(i, inodeAt(t, i, "eee")+afterHeader+20, 5) }, "its set of attributes 5 is not below 1"},
		{"fragment", func(i []byte) { put32(i, inodeAt(t, i, "bbb")+afterHeader+4, 5) }, "reading fragment 5: the image has 1"},
		{"place in a fragment", func(i []byte) { put32(i, inodeAt(t, i, "bbb")+afterHeader+8, 1) }, "fragment 0 has 5 bytes, want 5 at 1"},
		{"packed size", func(i []byte) { put32(i, inodeAt(t, i, "aaa")+afterHeader+16, 1<<20) }, "its packed size is 1048576"},
		{"block outside", func(i []byte) { put32(i, inodeAt(t, i, "aaa")+afterHeader, 1<<30) }, "bytes at 1073741824 are outside its "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			image := bare(t)
			test.change(image)
			err := drain(image)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%v is marked %d", err, fault.KindOf(err))
			}
		})
	}
}

func TestImageTellsOfItself(t *testing.T) {
	raw := made(t, everything(t), Options{Compression: Zstd, Level: 1, BlockSize: 64 << 10})
	i, err := Open(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if i.Compression() != Zstd || i.BlockSize() != 64<<10 || i.Size() > int64(len(raw)) || i.Size() < int64(len(raw))-4096 {
		t.Errorf("%s, %d, %d of %d bytes", i.Compression(), i.BlockSize(), i.Size(), len(raw))
	}
}

// brokenDisk fails after a number of reads.
type brokenDisk struct {
	image []byte
	left  int
}

var errDisk = errors.New("the disk is on fire")

func (d *brokenDisk) ReadAt(p []byte, at int64) (int, error) {
	if d.left--; d.left < 0 {
		return 0, errDisk
	}
	return bytes.NewReader(d.image).ReadAt(p, at)
}

// TestBlamesTheDisk checks that an image that cannot be read is not reported as
// invalid.
func TestBlamesTheDisk(t *testing.T) {
	raw := bare(t)
	for reads := range 8 {
		i, err := Open(&brokenDisk{raw, reads}, int64(len(raw)))
		if err == nil {
			_, err = i.Tree(context.Background(), "a test")
		}
		if !errors.Is(err, errDisk) || fault.KindOf(err) == fault.Invalid {
			t.Errorf("after %d reads: %v is marked %d", reads, err, fault.KindOf(err))
		}
	}
}

// TestDecompressorsStop has every compression unpack more than a block holds,
// and input that is not a stream.
func TestDecompressorsStop(t *testing.T) {
	for id, c := range compressions() {
		dec, err := newDecompressor(uint16(id))
		if err != nil {
			continue
		}
		if out, err := dec.decompress([]byte("this is nobody's stream at all"), 100); err == nil {
			t.Errorf("%s: nonsense unpacks to %q", c, out)
		}
		comp, err := newCompressor(c, 0, maxBlock)
		if err != nil {
			continue // lz4, which cannot be written
		}
		packed, err := comp.compress(t.Context(), nil, bytes.Repeat([]byte("much too long "), 5000))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dec.decompress(packed, 69999); err == nil {
			t.Errorf("%s unpacks to more than is allowed", c)
		}
		if out, err := dec.decompress(packed, 70000); err != nil || len(out) != 70000 {
			t.Errorf("%s: %d bytes, %v", c, len(out), err)
		}
		if _, err := dec.decompress(packed[:len(packed)/2], 70000); err == nil {
			t.Errorf("%s: half a stream is not an error", c)
		}
	}
}

func TestXZDictionary(t *testing.T) {
	stream := func(capacity int) []byte {
		var b bytes.Buffer
		w, err := xz.WriterConfig{DictCap: capacity, CheckSum: xz.CRC32}.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "content"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var x xzDecompressor
	if out, err := x.decompress(stream(maxBlock), 100); err != nil || string(out) != "content" {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := x.decompress(stream(2*maxBlock), 100); !errors.Is(err, kernels.ErrMemlimit) {
		t.Errorf("a dictionary of two blocks: %v", err)
	}
	// The reader that failed is not reused.
	if out, err := x.decompress(stream(4096), 100); err != nil || string(out) != "content" {
		t.Errorf("got %q, %v", out, err)
	}
}
