package squashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"
)

// pieces distributes the contents of a tree's files among count images, and
// returns where each is.
func pieces(t testing.TB, tree *initramfs.Tree, count int, o Options) map[string]Packed {
	t.Helper()
	parts := make([]*initramfs.Tree, count)
	for i := range parts {
		parts[i] = &initramfs.Tree{}
	}
	number := 0
	for e := range tree.All() {
		if e.Type == initramfs.Regular && e.Size > 0 {
			add(t, parts[number%count], e)
			number++
		}
	}
	contents := map[string]Packed{}
	for i, part := range parts {
		raw := made(t, part, o)
		image, err := Open(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			t.Fatal(err)
		}
		packed, err := image.Packed(t.Context(), fmt.Sprintf("piece %d", i))
		if err != nil {
			t.Fatal(err)
		}
		for name, p := range packed {
			contents[name] = p
		}
	}
	return contents
}

// joined returns an image of the tree whose contents are in others.
func joined(t testing.TB, tree *initramfs.Tree, count int, o Options) []byte {
	t.Helper()
	j, err := Join(tree, pieces(t, tree, count, o), o)
	if err != nil {
		t.Fatal(err)
	}
	return whole(t, j)
}

func whole(t testing.TB, j *Joined) []byte {
	t.Helper()
	r, err := j.Open()
	if err != nil {
		t.Fatal(err)
	}
	image, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if int64(len(image)) != j.Size() {
		t.Errorf("%d bytes of an image of %d", len(image), j.Size())
	}
	return image
}

// Joining the contents of a single other image yields the same image as Write.
func TestJoinOfOneIsWrite(t *testing.T) {
	tree := wide(t, 500)
	add(t, tree, file("long", 1<<20, "noise"), file("zeros", 1<<20, "zero"), file("empty", 0, "zero"))
	o := Options{Distinct: true}
	if !bytes.Equal(made(t, tree, o), joined(t, tree, 1, o)) {
		t.Error("joining one piece differs from writing it")
	}
}

// The image contains a content only once, even if several files share it.
func TestJoinSharesContents(t *testing.T) {
	one, three := &initramfs.Tree{}, &initramfs.Tree{}
	add(t, one, file("a", 1<<20, "noise"))
	add(t, three, file("a", 1<<20, "noise"), file("b", 1<<20, "noise"), file("c", 1<<20, "noise"))
	contents := pieces(t, one, 1, Options{})
	contents["b"], contents["c"] = contents["a"], contents["a"]
	j, err := Join(three, contents, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if more := j.Size() - int64(len(made(t, one, Options{}))); more > 4<<10 {
		t.Errorf("two more names take %d bytes", more)
	}
	same(t, three, read(t, whole(t, j)))
}

func TestJoinRefuses(t *testing.T) {
	tree := &initramfs.Tree{}
	add(t, tree, file("a", 100, "noise"), file("b", 1<<20, "noise"))
	longer := &initramfs.Tree{}
	add(t, longer, file("a", 101, "noise"), file("b", 1<<20, "noise"))
	for name, test := range map[string]struct {
		contents map[string]Packed
		want     string
	}{
		"a file without content": {map[string]Packed{}, "no packed content of its 100 bytes"},
		"another size":           {pieces(t, longer, 1, Options{}), "no packed content of its 100 bytes"},
		"another compression":    {pieces(t, tree, 1, Options{Compression: Zstd}), "packed with zstd in blocks of 131072"},
		"another block size":     {pieces(t, tree, 1, Options{BlockSize: 4 << 10}), "packed with gzip in blocks of 4096"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Join(tree, test.contents, Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `"a"`) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
