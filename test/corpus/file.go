package corpus

import (
	"archive/tar"
	"io"
	"strings"
	"time"
)

// file is one entry of a layer.
type file struct {
	header tar.Header
	// open returns the content of a regular file, header.Size bytes.
	open func() (io.ReadCloser, error)
}

// madeAt is when most of the corpus' files were last changed.
func madeAt() time.Time { return time.Unix(1_700_000_000, 0) }

func dir(name string, mode int64) file {
	return file{header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, ModTime: madeAt()}}
}

func text(name, content string, mode int64) file {
	return file{
		header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, ModTime: madeAt(), Size: int64(len(content))},
		open:   func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}

func symlink(name, target string) file {
	return file{header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: madeAt()}}
}

// and returns the file and further names of it. As tar and Docker write them, the
// links repeat its mode, owner and time, which unpackers apply once more.
func (f file) and(names ...string) []file {
	files := []file{f}
	for _, n := range names {
		link := file{header: f.header}
		link.header.Typeflag, link.header.Name, link.header.Linkname, link.header.Size = tar.TypeLink, n, f.header.Name, 0
		files = append(files, link)
	}
	return files
}

func fifo(name string, mode int64) file {
	return file{header: tar.Header{Typeflag: tar.TypeFifo, Name: name, Mode: mode, ModTime: madeAt()}}
}

func charDevice(name string, mode, major, minor int64) file {
	return file{header: tar.Header{Typeflag: tar.TypeChar, Name: name, Mode: mode, Devmajor: major, Devminor: minor, ModTime: madeAt()}}
}

// whiteout takes name of lower layers away.
func whiteout(name string) file {
	dir, base := split(name)
	return text(dir+".wh."+base, "", 0o644)
}

// opaque hides what lower layers have in the directory name.
func opaque(name string) file { return text(name+"/.wh..wh..opq", "", 0o644) }

// split parts a path into its directory, with the slash, and its last element.
func split(name string) (string, string) {
	i := strings.LastIndex(name, "/") + 1
	return name[:i], name[i:]
}

func (f file) owner(uid, gid int) file {
	f.header.Uid, f.header.Gid = uid, gid
	return f
}

func (f file) at(t time.Time) file {
	f.header.ModTime = t
	return f
}

// capability returns the file the xattr that lets it send pings (CAP_NET_RAW,
// effective and permitted; version 2 of capability(7)).
func (f file) capability() file {
	f.header.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": pingCapability}
	return f
}

const pingCapability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
