package embed

import (
	"maps"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// isACL reports whether an attribute is the form in which Linux presents a
// POSIX access control list. A squashfs cannot hold attributes of that name
// space.
func isACL(name, _ string) bool {
	return name == "system.posix_acl_access" || name == "system.posix_acl_default"
}

// withoutACLs returns the files without access control lists, and the files
// that had one.
func (d *overlayDiff) withoutACLs() (_ *overlayDiff, had []initramfs.Entry, err error) {
	for _, e := range d.files.Xattrs() {
		kept := maps.Clone(e.Xattrs)
		maps.DeleteFunc(kept, isACL)
		if len(kept) < len(e.Xattrs) {
			e.Xattrs = kept
			had = append(had, e)
		}
	}
	if len(had) == 0 {
		return d, nil, nil
	}
	plain := &overlayDiff{files: &initramfs.Tree{}}
	if err := plain.files.Graft("", d.files); err != nil {
		return nil, nil, err
	}
	for _, e := range had {
		if err := plain.replace(e); err != nil {
			return nil, nil, err
		}
	}
	return plain, had, nil
}

// warnOfACLs reports the files that lost their access control lists. Only
// changing the image would help; docker save and push restore the lists from
// the tar-split data.
func warnOfACLs(sink progress.Sink, files []initramfs.Entry) {
	if len(files) == 0 {
		return
	}
	progress.Warnf(sink, "%d files have POSIX access control lists, first %q of %s: a squashfs cannot hold them, so containers see these files with the permissions of their mode alone",
		len(files), files[0].Path, files[0].Origin)
}
