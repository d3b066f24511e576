package embed

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"
)

// repairDir is the directory in the data root with the boot script's lists. The
// script deletes it afterwards.
const repairDir = "repair"

// mostLinks is the number of hard links in one archive: busybox tar keeps the
// links of an archive in a list that it walks for every further one.
const mostLinks = 4096

// repair collects what a booting LinuxKit system loses of a file tree:
//
//   - newc archives carry no extended attributes, and /init copies none;
//   - /init makes every device node, and so every whiteout, an empty regular
//     file: it passes Go's mode bits to mknod(2);
//   - /init copies a hard-linked file once for every name;
//   - /init sets a directory's time before it fills the directory.
//
// Regular files, symlinks and fifos arrive unchanged, with owner, mode (setuid
// included) and time. (LinuxKit pkg/init/cmd/init/init.go, copyFS.)
//
// Nodes and links are left out of the archive completely, so that they cost
// nothing while booting. The boot script creates them from tar archives, which
// allow any name and need one process for thousands of files.
type repair struct {
	nodes, links, dirs []tar.Header
	attrs              []initramfs.Entry
}

// take records what has to be repaired of e, whose path is relative to the data
// root. It returns false if the boot script alone creates e.
func (r *repair) take(e initramfs.Entry) (archive bool) {
	if len(e.Xattrs) > 0 {
		r.attrs = append(r.attrs, e)
	}
	switch h := header(e); e.Type {
	case initramfs.CharDevice, initramfs.BlockDevice:
		r.nodes = append(r.nodes, h)
		return false
	case initramfs.HardLink:
		r.links = append(r.links, h)
		return false
	case initramfs.Dir:
		r.dirs = append(r.dirs, h)
	}
	return true
}

// header returns e as a member of a tar archive. User and group have no names:
// busybox would look them up in the machine's own files.
func header(e initramfs.Entry) tar.Header {
	h := tar.Header{
		Name: e.Path, Mode: int64(e.Mode), Uid: int(e.UID), Gid: int(e.GID),
		ModTime: e.ModTime, Devmajor: int64(e.Major), Devminor: int64(e.Minor),
	}
	switch e.Type {
	case initramfs.CharDevice:
		h.Typeflag = tar.TypeChar
	case initramfs.BlockDevice:
		h.Typeflag = tar.TypeBlock
	case initramfs.HardLink:
		h.Typeflag, h.Linkname = tar.TypeLink, e.Target
	case initramfs.Dir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	}
	return h
}

// files returns the files that the boot script processes in the order of their
// names. Directories come last: creating a file changes its directory's time.
// If nothing has to be repaired, there are no files.
func (r *repair) files() ([]initramfs.Entry, error) {
	var files []initramfs.Entry
	add := func(name string, members []tar.Header) error {
		if len(members) == 0 {
			return nil
		}
		body, err := archiveOf(members)
		if err != nil {
			return fmt.Errorf("writing the boot script's list %q: %w", name, err)
		}
		files = append(files, initramfs.BytesFile(repairDir+"/"+name, body, initramfs.Epoch()))
		return nil
	}
	if err := add("1-nodes.tar.gz", r.nodes); err != nil {
		return nil, err
	}
	number := 0
	for part := range slices.Chunk(r.links, mostLinks) {
		if err := add(fmt.Sprintf("2-links-%04d.tar.gz", number), part); err != nil {
			return nil, err
		}
		number++
	}
	if len(r.attrs) > 0 {
		files = append(files, initramfs.BytesFile(repairDir+"/3-xattrs", attrDump(r.attrs), initramfs.Epoch()))
	}
	return files, add("4-dirs.tar.gz", r.dirs)
}

func archiveOf(members []tar.Header) ([]byte, error) {
	var body bytes.Buffer
	packed := gzip.NewWriter(&body)
	w := tar.NewWriter(packed)
	for _, h := range members {
		if err := writeHeader(w, h); err != nil {
			return nil, err
		}
	}
	err := errors.Join(w.Close(), packed.Close())
	return body.Bytes(), err
}

// writeHeader writes a member in the oldest format that can hold it; busybox
// reads USTAR and GNU, and of PAX only the names.
func writeHeader(w *tar.Writer, h tar.Header) error {
	h.Format = tar.FormatUSTAR
	if err := w.WriteHeader(&h); err == nil {
		return nil
	}
	h.Format = tar.FormatGNU
	return w.WriteHeader(&h)
}

// attrDump lists extended attributes in the format of getfattr --dump, for
// setfattr --restore.
func attrDump(files []initramfs.Entry) []byte {
	var dump bytes.Buffer
	for _, e := range files {
		fmt.Fprintf(&dump, "# file: %s\n", quoteAttr(e.Path))
		for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
			value := base64.StdEncoding.EncodeToString([]byte(e.Xattrs[name]))
			fmt.Fprintf(&dump, "%s=0s%s\n", quoteAttr(name), value)
		}
		dump.WriteByte('\n')
	}
	return dump.Bytes()
}

func quoteAttr(s string) string {
	return strings.NewReplacer("\\", `\134`, "\n", `\012`, "\r", `\015`, "=", `\075`).Replace(s)
}
