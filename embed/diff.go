package embed

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"hookbuild/internal/initramfs"
)

// How a layer's tar marks files of the layers below as deleted (OCI image
// specification, layer.md) and how overlayfs does (Linux,
// Documentation/filesystems/overlayfs.rst). Other names that start with
// .wh..wh. are left over from AUFS and have no meaning.
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh."
	opaqueMarker   = ".wh..wh..opq"

	opaqueXattr = "trusted.overlay.opaque"
	opaqueYes   = "y"
)

// overlayDiff is the content of a layer's diff directory, in the form that
// overlayfs reads: a whiteout is the character device 0:0, an opaque directory
// has the xattr trusted.overlay.opaque.
//
// An opaque root directory is no different from any other root: overlayfs does
// not look for the xattr there, so Docker never shows such a layer alone.
type overlayDiff struct {
	files   *initramfs.Tree
	changes changes
}

// newOverlayDiff unpacks a layer's entries as dockerd does: a later entry
// replaces an earlier one of the same path, whatever its type, except that a
// directory over a directory keeps the content.
func newOverlayDiff(entries []initramfs.Entry) (*overlayDiff, error) {
	d := &overlayDiff{files: &initramfs.Tree{}, changes: changes{}}
	opaque := map[string]initramfs.Entry{}
	for _, e := range entries {
		if e.Path == "" {
			continue // the layer's root, which no container shows
		}
		e, err := d.fit(e)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(path.Base(e.Path), whiteoutPrefix) {
			if err := d.put(e); err != nil {
				return nil, err
			}
			continue
		}
		if err := d.whiteOut(e, opaque); err != nil {
			return nil, err
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(opaque)) {
		if err := d.markOpaque(opaque[dir]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *overlayDiff) put(e initramfs.Entry) error {
	old, exists := d.files.Lookup(e.Path)
	if exists && (old.Type != initramfs.Dir || e.Type != initramfs.Dir) && (e.Type != initramfs.HardLink || e.Target != e.Path) {
		d.files.Remove(e.Path)
	}
	if err := d.files.Add(e); err != nil {
		return err
	}
	if e.Type == initramfs.HardLink {
		return d.takeAttributes(e)
	}
	return nil
}

// takeAttributes sets a file's mode, owner, time and xattrs to those of the
// hard link just made to it: they are one inode, and dockerd sets them with
// every name.
func (d *overlayDiff) takeAttributes(link initramfs.Entry) error {
	made, ok := d.files.Lookup(link.Path)
	if !ok || made.Type != initramfs.HardLink {
		return nil
	}
	file, _ := d.files.Lookup(made.Target)
	file.UID, file.GID = link.UID, link.GID
	if file.Type != initramfs.Symlink {
		file.Mode, file.ModTime = link.Mode, link.ModTime
	}
	for name, value := range link.Xattrs {
		file = withXattr(file, name, value)
	}
	var err error
	if file, err = d.fitAttrs(file); err != nil {
		return err
	}
	return d.replace(file)
}

// replace puts a changed entry in place of the old one, which keeps its hard
// links and children.
func (d *overlayDiff) replace(e initramfs.Entry) error {
	if e.Type == initramfs.Dir {
		return d.files.Add(e)
	}
	links := d.files.Names(e.Path)
	for _, l := range links {
		d.files.Remove(l)
	}
	d.files.Remove(e.Path)
	if err := d.files.Add(e); err != nil {
		return err
	}
	for _, l := range links {
		link := e
		link.Path, link.Type, link.Target = l, initramfs.HardLink, e.Path
		if err := d.files.Add(link); err != nil {
			return err
		}
	}
	return nil
}

// whiteOut adds an entry whose name starts with .wh., and collects the markers
// of opaque directories: the directory's own entry may come later.
func (d *overlayDiff) whiteOut(e initramfs.Entry, opaque map[string]initramfs.Entry) error {
	dir, base := path.Split(e.Path)
	switch {
	case base == opaqueMarker:
		opaque[path.Clean(dir)] = e
		return nil
	case strings.HasPrefix(base, whiteoutMeta):
		return nil
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("%q is not a valid whiteout", e.Path)
	}
	at := dir + name
	if _, exists := d.files.Lookup(at); exists {
		return fmt.Errorf("%q deletes a file of the same layer, which Docker refuses; rebuild the image", e.Path)
	}
	return d.files.Add(whiteout(at, e.UID, e.GID, e.ModTime, e.Origin))
}

func whiteout(at string, uid, gid uint32, modTime time.Time, origin string) initramfs.Entry {
	return initramfs.Entry{Path: at, Type: initramfs.CharDevice, UID: uid, GID: gid, ModTime: modTime, Origin: origin}
}

func isWhiteout(e initramfs.Entry) bool {
	return e.Type == initramfs.CharDevice && e.Major == 0 && e.Minor == 0
}

func isOpaque(e initramfs.Entry) bool { return e.Xattrs[opaqueXattr] == opaqueYes }

func (d *overlayDiff) markOpaque(marker initramfs.Entry) error {
	at := path.Dir(marker.Path)
	if at == "." {
		return nil
	}
	e, exists := d.files.Lookup(at)
	if !exists {
		e = initramfs.Entry{Path: at, Type: initramfs.Dir, Mode: 0o755, ModTime: marker.ModTime, Origin: marker.Origin}
	}
	if e.Type != initramfs.Dir {
		return nil // replaced by a file, which hides what is below anyway
	}
	return d.files.Add(withXattr(e, opaqueXattr, opaqueYes))
}
