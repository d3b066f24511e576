package linuxkit

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"hookbuild/internal/initramfs"
)

// WriteTar writes the whole system as a tar archive in PAX format, including
// boot/ with the kernel and its command line, sorted by path. The first of a
// file's names carries the content and the others are hard links to it. Times
// after latest become latest, unless that is zero.
func (r *Result) WriteTar(ctx context.Context, w io.Writer, latest time.Time) error {
	tree, err := r.whole()
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	for e := range tree.All() {
		if err := ctx.Err(); err != nil {
			return err
		}
		e = byFirstName(tree, e)
		if !latest.IsZero() && e.ModTime.After(latest) {
			e.ModTime = latest
		}
		if err := writeEntry(tw, e); err != nil {
			return fmt.Errorf("writing %q of %s to the archive: %w", e.Path, e.Origin, err)
		}
	}
	return tw.Close()
}

// WriteFileList writes a line for each entry of [Result.WriteTar]'s archive, as
// `tar --list` prints it: the path, with a slash after directories, and with
// control characters and backslashes escaped.
func (r *Result) WriteFileList(w io.Writer) error {
	tree, err := r.whole()
	if err != nil {
		return err
	}
	for e := range tree.All() {
		name := e.Path
		if e.Type == initramfs.Dir {
			name += "/"
		}
		if _, err := fmt.Fprintln(w, quoteName(name)); err != nil {
			return err
		}
	}
	return nil
}

// whole returns the root file system with the content of boot/.
func (r *Result) whole() (*initramfs.Tree, error) {
	tree := &initramfs.Tree{}
	for _, part := range []*initramfs.Tree{r.Tree, r.Boot} {
		if err := tree.Graft("", part); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

// byFirstName makes the first of a file's names the file, and the others links
// to it: an unpacker needs the target of a link before the link.
func byFirstName(tree *initramfs.Tree, e initramfs.Entry) initramfs.Entry {
	file, _ := tree.File(e.Path)
	names := append(tree.Names(file.Path), file.Path)
	if len(names) == 1 {
		return e
	}
	first := slices.MinFunc(names, initramfs.ComparePaths)
	if e.Path != first {
		return initramfs.Entry{Path: e.Path, Type: initramfs.HardLink, Target: first, Mode: file.Mode, UID: file.UID, GID: file.GID, ModTime: file.ModTime}
	}
	file.Path = first
	return file
}

func writeEntry(tw *tar.Writer, e initramfs.Entry) error {
	types := map[initramfs.Type]byte{
		initramfs.Regular: tar.TypeReg, initramfs.Dir: tar.TypeDir, initramfs.Symlink: tar.TypeSymlink, initramfs.HardLink: tar.TypeLink,
		initramfs.CharDevice: tar.TypeChar, initramfs.BlockDevice: tar.TypeBlock, initramfs.Fifo: tar.TypeFifo,
	}
	typeflag, ok := types[e.Type]
	if !ok {
		return fmt.Errorf("an archive cannot carry a %s", e.Type)
	}
	hdr := &tar.Header{
		Typeflag: typeflag, Name: e.Path, Linkname: e.Target, Size: e.Size, Mode: int64(e.Mode), Uid: int(e.UID), Gid: int(e.GID),
		ModTime: e.ModTime, Devmajor: int64(e.Major), Devminor: int64(e.Minor), Format: tar.FormatPAX, PAXRecords: map[string]string{},
	}
	if e.Type == initramfs.Dir {
		hdr.Name += "/"
	}
	for name, value := range e.Xattrs {
		hdr.PAXRecords["SCHILY.xattr."+name] = value
	}
	if err := tw.WriteHeader(hdr); err != nil || e.Open == nil {
		return err
	}
	r, err := e.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(tw, r)
	return errors.Join(err, r.Close())
}

// quoteName escapes names as GNU tar does by default.
func quoteName(name string) string {
	named := map[byte]string{'\a': `\a`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\v': `\v`, '\\': `\\`, 0x7f: `\177`}
	out := make([]byte, 0, len(name))
	for _, c := range []byte(name) {
		switch {
		case named[c] != "":
			out = append(out, named[c]...)
		case c < ' ':
			out = fmt.Appendf(out, `\%03o`, c)
		default:
			out = append(out, c)
		}
	}
	return string(out)
}
