package tarball

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"

	"hookbuild/internal/initramfs"
)

// Whatever is read: no panic, every path is clean, and a content that opens
// has as many bytes as its entry says.
func FuzzEntries(f *testing.F) {
	f.Add(archive(f, dir("d"), file("d/f", "content"), symlink("s", "d"), hardLink("h", "d/f")))
	f.Add(archive(f, member{tar.Header{Name: "x", Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}, "z"}))
	f.Add(archive(f, member{tar.Header{Name: "x", Uid: 1 << 30, Format: tar.FormatGNU}, "z"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := entries(bytes.NewReader(data), int64(len(data)), "fuzz", Options{MostSparse: 1 << 20}, limits{entries: 1000, metadata: 1 << 16, steps: 1000})
		if err != nil {
			return
		}
		for _, e := range found {
			if clean, err := initramfs.CleanPath(e.Path); err != nil || clean != e.Path {
				t.Errorf("path %q: clean is %q, %v", e.Path, clean, err)
			}
			if e.Type == initramfs.Regular {
				checkBody(t, e)
			}
		}
	})
}

func checkBody(t *testing.T, e initramfs.Entry) {
	r, err := e.Open()
	if err != nil {
		t.Fatalf("opening %q: %v", e.Path, err)
	}
	n, err := io.Copy(io.Discard, r)
	if err == nil && n != e.Size {
		t.Errorf("%q has %d bytes and says %d", e.Path, n, e.Size)
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00\x09\x00\x00x\x99\xe9\xd8\x51"))
	f.Add([]byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decompressor{Most: 1 << 20, Trailing: func() {}}.Open(bytes.NewReader(data))
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, r)
		if err == nil && n > 1<<20 && IsCompressed(data) {
			t.Errorf("%d bytes grew to %d", len(data), n)
		}
	})
}
