package doctor

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hookbuild/test/testneed"
)

// Disks of tmpfs are as large as they say, and take no memory.
func TestDisk(t *testing.T) {
	testneed.Root(t)
	for size, want := range map[string]Status{"1G": Fail, "10G": Warn, "30G": OK} {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
			testneed.Missing(t, "mount", err.Error())
		}
		t.Cleanup(func() {
			if err := unix.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		c := disk("--out", filepath.Join(dir, "not", "made"))
		if c.Status != want || (want == OK) != (c.Remedy == "") || (want == Fail) != (c.Breaks != "") {
			t.Errorf("with %s: %+v, want %s", size, c, want)
		}
		if want == Fail && (!strings.Contains(c.Remedy, "2.00 GB are needed") || strings.Contains(c.Remedy, "cache")) {
			t.Errorf("the remedy is %q", c.Remedy)
		}
	}
}
