package embed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// longestDiffPath is the longest path in a layer that dockerd can access:
// PATH_MAX minus "/var/lib/docker/overlay2/<64 characters>/diff/".
const longestDiffPath = 4000

// The largest name (XATTR_NAME_MAX) and value (XATTR_SIZE_MAX) of an extended
// attribute on Linux, in bytes.
const (
	longestAttrName  = 255
	longestAttrValue = 64 << 10
)

// change describes how a store's files differ from the layer's, in words that
// follow the number of files. What dockerd does with such a layer depends on
// its version, and at most it mentions a change in its log.
type change string

// The changes. dockerd 20.10 ignores EPERM and ENOTSUP from setxattr(2); 28 and
// 29 ignore EPERM, but refuse a layer on ENOTSUP, which an attribute of a
// foreign name space causes (moby/go-archive, createTarFile). 29 follows
// symbolic links.
const (
	foreignAttrs  change = "with extended attributes of a name space that Linux does not have: the attributes are left out, as Docker 20.10 does; Docker 28 and 29 refuse to pull such a layer"
	symlinkACLs   change = "with access control lists, which Linux does not support for symbolic links: the lists are left out, as Docker 20.10 does; Docker 28 refuses to pull such a layer, and 29 puts the lists on the links' targets"
	misplacedUser change = "with user.* attributes, which Linux supports only for regular files and directories: the attributes are left out, as Docker 20.10 and 28 do"
	outOfTime     change = "with times before 1970 or after 2262: the times become 1970, as in Docker"
	beyond2106    change = "with times after 2106, which neither a squashfs nor an initramfs holds: the times become 2106"
)

// changes collects the changed files.
type changes map[change][]string

func (c changes) add(what change, e initramfs.Entry) { c[what] = append(c[what], e.Path) }

// fit returns the entry as Linux accepts it. What Linux rejects is an error if
// it is one for dockerd.
func (d *overlayDiff) fit(e initramfs.Entry) (initramfs.Entry, error) {
	if len(e.Path) > longestDiffPath {
		return e, fmt.Errorf("the path %q... has %d bytes, but Docker allows %d", e.Path[:64], len(e.Path), longestDiffPath)
	}
	e.ModTime = d.boundTime(e)
	if e.Type == initramfs.HardLink {
		return e, nil // its attributes are those of a file that is not known yet
	}
	return d.fitAttrs(e)
}

// boundTime limits a time to what an initramfs and a squashfs can carry: whole
// seconds from 1970 to 2106. For earlier times, and for times after the year
// 2262, dockerd uses 1970 (moby, chtimes).
func (d *overlayDiff) boundTime(e initramfs.Entry) time.Time {
	const last, lastOfDocker = 1<<32 - 1, (1<<63 - 1) / 1_000_000_000
	switch second := e.ModTime.Unix(); {
	case second < 0 || second > lastOfDocker:
		d.changes.add(outOfTime, e)
		return time.Unix(0, 0)
	case second > last:
		d.changes.add(beyond2106, e)
		return time.Unix(last, 0)
	default:
		return time.Unix(second, 0)
	}
}

// fitAttrs drops the extended attributes for which Linux's setxattr(2) returns
// EPERM or ENOTSUP on a file of this type. dockerd 20.10 ignores both errors;
// 28 and 29 ignore EPERM and refuse the layer on ENOTSUP. An image whose only
// defect is an attribute that no kernel can store stays usable here.
func (d *overlayDiff) fitAttrs(e initramfs.Entry) (initramfs.Entry, error) {
	kept := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		dropped, err := checkAttr(e, name, e.Xattrs[name])
		switch {
		case err != nil:
			return e, fmt.Errorf("the extended attribute %q of %q: %w", name, e.Path, err)
		case dropped != "":
			d.changes.add(dropped, e)
		default:
			kept[name] = e.Xattrs[name]
		}
	}
	if len(kept) < len(e.Xattrs) {
		e.Xattrs = kept
	}
	return e, nil
}

// checkAttr returns what Linux's setxattr(2) would do: dropped is the change if
// it would return EPERM or ENOTSUP, err any other error.
func checkAttr(e initramfs.Entry, name, value string) (dropped change, err error) {
	space, rest, _ := strings.Cut(name, ".")
	ordinary := e.Type == initramfs.Regular || e.Type == initramfs.Dir
	switch {
	case name == "" || len(name) > longestAttrName:
		return "", fmt.Errorf("its name has %d bytes, but Linux allows 1 to %d", len(name), longestAttrName)
	case len(value) > longestAttrValue:
		return "", fmt.Errorf("it has %d bytes, but Linux allows %d", len(value), longestAttrValue)
	case isACL(name, ""):
		if e.Type == initramfs.Symlink {
			return symlinkACLs, nil
		}
		return "", checkACL(value)
	case space != "user" && space != "trusted" && space != "security":
		return foreignAttrs, nil
	case rest == "":
		return "", errors.New("it has no name in its name space")
	case space == "user" && !ordinary:
		return misplacedUser, nil
	case name == "security.capability":
		return "", checkCapability(value)
	}
	return "", nil
}

// checkACL checks the format of an access control list (Linux,
// include/uapi/linux/posix_acl_xattr.h).
func checkACL(value string) error {
	const version, header, entry = 2, 4, 8
	if len(value) < header || (len(value)-header)%entry != 0 || binary.LittleEndian.Uint32([]byte(value)) != version {
		return errors.New("it is not an access control list")
	}
	return nil
}

// checkCapability checks the format of a file's capabilities, of which Linux
// accepts revisions 2 and 3 (include/uapi/linux/capability.h).
func checkCapability(value string) error {
	sizes := map[uint32]int{2: 20, 3: 24}
	if len(value) < 4 || sizes[binary.LittleEndian.Uint32([]byte(value))>>24] != len(value) {
		return errors.New("it is not a capability of revision 2 or 3")
	}
	return nil
}

// warnOfChanges reports the changes of the layers' files, with a line for each kind.
func (s *store) warnOfChanges(sink progress.Sink) {
	files, layers := map[change][]string{}, map[change][]string{}
	for _, l := range s.layers.all {
		for what, changed := range l.diff.changes {
			files[what] = append(files[what], changed...)
			layers[what] = append(layers[what], l.src.String())
		}
	}
	for _, what := range slices.Sorted(maps.Keys(files)) {
		have := "has"
		if len(layers[what]) > 1 {
			have = "together have"
		}
		progress.Warnf(sink, "%s %s %s %s; the first is %q", strings.Join(layers[what], " and "), have, words.Count(len(files[what]), "file"), what, files[what][0])
	}
}

// invalidLayer returns the error about a layer's content.
func invalidLayer(l *layer, err error) error { return fault.Invalidf("unpacking %s: %w", l.src, err) }
