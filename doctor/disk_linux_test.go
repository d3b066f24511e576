package doctor

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hookbuild/test/testneed"
)

// TestDisk has disks of a given size for what a build needs: 3 GB of images need 9.5 GB
// in --out and 16 GB in --cache-dir.
func TestDisk(t *testing.T) {
	testneed.Root(t)
	images := total{Size{All: 3_000_000_000, Fetch: 3_000_000_000}, 7, 0}
	for size, want := range map[string][2]Status{"4G": {Fail, Fail}, "6G": {Warn, Fail}, "12G": {OK, Warn}, "30G": {OK, OK}} {
		o := Options{Out: filepath.Join(tmpfs(t, size), "not", "made"), Cache: tmpfs(t, size), Described: true}
		for i, c := range disks(o, images, "/") {
			if c.Status != want[i] || (c.Status == OK) != (c.Remedy == "") || (c.Status == Fail) != (len(c.Commands) > 0 && c.Breaks != "") {
				t.Errorf("with %s: %+v, want %s", size, c, want[i])
			}
			need := []string{"about 9.50 GB needed for 7 images of 3.00 GB", "about 16.00 GB needed for 7 images of 3.00 GB"}[i]
			if !strings.HasSuffix(c.Found, need) || strings.Contains(c.Remedy, "cache prune") != (i == 1 && c.Status != OK) {
				t.Errorf("with %s: %+v, want %q", size, c, need)
			}
		}
	}
}

// TestDiskOfAll has everything on one disk, whose needs add up.
func TestDiskOfAll(t *testing.T) {
	testneed.Root(t)
	dir := tmpfs(t, "11G")
	for _, test := range []struct {
		o      Options
		status []Status
	}{
		{Options{Described: true}, []Status{OK, OK}},
		{Options{Described: true, Compiles: true}, []Status{OK, OK, Warn}},
		{Options{}, []Status{OK, OK, Warn}}, // a kernel may be compiled
		{Options{Bundle: true, Compiles: true, Described: true}, []Status{OK, OK, Fail}},
	} {
		test.o.Out, test.o.Cache = dir, dir
		checks := disks(test.o, total{}, dir)
		if len(checks) != len(test.status) {
			t.Fatalf("%+v: %+v", test.o, checks)
		}
		for i, c := range checks {
			if c.Status != test.status[i] || i < 2 && !strings.Contains(c.Found, ", and on the same disk ") {
				t.Errorf("%+v: %+v, want %s", test.o, c, test.status[i])
			}
		}
	}
	got := disks(Options{Out: dir, Cache: dir, Compiles: true, Described: true}, total{}, dir)[2].Found
	if want := "about 20.00 GB needed for compiling a kernel, as Hook's recipe says, and on the same disk 500.0 MB for --out and 2.00 GB for --cache-dir"; !strings.HasSuffix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// tmpfs returns a file system of a size, which takes no memory.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		testneed.Missing(t, "mount", err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}
