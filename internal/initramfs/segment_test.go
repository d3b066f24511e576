package initramfs

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/testneed"
)

// sample is a tree with one of everything that an archive can carry.
func sample(t testing.TB) *Tree {
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
		{Path: "dev/console", Type: CharDevice, Mode: 0o600, Major: 5, Minor: 1, ModTime: at},
		{Path: "dev/console2", Type: HardLink, Target: "dev/console"},
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
	cpio.Stdin = bytes.NewReader(segment(t, sample(t), SegmentOptions{Compression: None}))
	out, err := cpio.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("\n%s", out)
	for _, want := range []string{
		"-rwsr-xr-x   3 0        0               9 Feb  3  2024 bin/sh",
		"crw-------   2 0        0          5,   1 Feb  3  2024 dev/console\n",
		"brw-rw----   1 0        6        259, 1048575 Feb  3  2024 dev/sda\n",
		"c---------   1 0        0          0,   0 Feb  3  2024 gone\n",
		"drwxrwxrwt   2 0        0               0 Feb  3  2024 tmp\n",
		"lrwxrwxrwx   1 0        0               7 Feb  3  2024 lib -> usr/lib\n",
		"-rw-r-----   1 1000     4294967294        4 Feb  3  2024 home/u/f\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("cpio does not list %q", want)
		}
	}
}
