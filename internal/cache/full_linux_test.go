package cache

import (
	"context"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hookbuild/test/testneed"
)

func TestFullDiskNamesTheDirectoryAndTheRemedy(t *testing.T) {
	testneed.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		testneed.Missing(t, "root", "mounting a tmpfs: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	c := open(t, dir)
	big := strings.Repeat("x", 4<<20)
	_, err := c.PutBlob(context.Background(), "layers", digest(big), writing(big))
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--cache-dir") {
		t.Errorf("got %v", err)
	}
	if left := files(t, c); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
