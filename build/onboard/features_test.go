package onboard

import (
	"strings"
	"testing"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/squashfs"
	"hookbuild/kernel"
	"hookbuild/kernel/kconfig"
)

// TestUnknownIsNotMissing asks a kernel without a configuration for each
// compression of the images.
func TestUnknownIsNotMissing(t *testing.T) {
	silent := &kernel.Features{Origin: "the list of modules"}
	for _, asked := range []squashfs.Compression{"", squashfs.Gzip, squashfs.XZ, squashfs.Zstd} {
		var warned warnings
		can := storeCapabilities(silent, Need{Store: true, Layers: asked}, &warned)
		if !can.SquashfsGzip || can.SquashfsXZ != (asked == squashfs.XZ) || can.SquashfsZstd != (asked == squashfs.Zstd) {
			t.Errorf("asked for %q: %+v", asked, can)
		}
		option := map[squashfs.Compression]string{squashfs.XZ: "CONFIG_SQUASHFS_XZ", squashfs.Zstd: "CONFIG_SQUASHFS_ZSTD"}[asked]
		if len(warned) != 1 || !strings.Contains(warned[0], option) {
			t.Errorf("asked for %q: the warnings are %q", asked, warned)
		}
	}
	config, err := kconfig.Parse(strings.NewReader("CONFIG_SQUASHFS=y\nCONFIG_SQUASHFS_ZLIB=y\n# CONFIG_SQUASHFS_XZ is not set\n"), "test")
	if err != nil {
		t.Fatal(err)
	}
	if can := storeCapabilities(&kernel.Features{Config: config}, Need{Initramfs: initramfs.Gzip, Layers: squashfs.XZ}, nil); can.SquashfsXZ {
		t.Error("XZ is assumed, but the configuration says that it is off")
	}
}

// warnings collects the text of events.
type warnings []string

func (w *warnings) Report(e progress.Event) { *w = append(*w, e.Text) }
