package driver

import (
	"path"
	"strings"

	"hookbuild/internal/initramfs"
)

// Firmware returns the firmware file that a module requests by a name below
// lib/firmware, if the source carries it: under that name in any directory, or
// under the name's last element alone. A file with a version in its name counts
// too, as vendors have it ("ice-1.3.36.0.pkg" for "intel/ice/ddp/ice.pkg").
// Of several files that fit equally none is chosen, because only the vendor's
// installation knows which is meant.
func (d *Driver) Firmware(name string) (initramfs.Entry, bool) {
	base := path.Base(name)
	ext := path.Ext(base)
	stem := strings.TrimSuffix(base, ext) + "-"
	for _, fits := range []func(string) bool{
		func(file string) bool { return file == name || strings.HasSuffix(file, "/"+name) },
		func(file string) bool { return path.Base(file) == base },
		func(file string) bool {
			version, found := strings.CutPrefix(path.Base(file), stem)
			version, isExt := strings.CutSuffix(version, ext)
			return found && isExt && strings.Trim(version, "0123456789.") == "" && version != ""
		},
	} {
		var found []initramfs.Entry
		for e := range d.Tree.All() {
			if e.Type == initramfs.Regular && fits(e.Path) {
				found = append(found, e)
			}
		}
		if len(found) == 1 {
			return found[0], true
		}
		if len(found) > 1 {
			return initramfs.Entry{}, false
		}
	}
	return initramfs.Entry{}, false
}
