package build

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/pgzip"

	"hookbuild/build/artifact"
	"hookbuild/internal/initramfs"
)

// writeDTBs writes the device trees as NAME.tar.gz, with every path below NAME/.
// It writes nothing if there are none.
func writeDTBs(ctx context.Context, s *artifact.Stage, name string, trees *initramfs.Tree) error {
	if !hasDTB(trees) {
		return nil
	}
	return s.Write(name+".tar.gz", func(w io.Writer) error {
		zw := pgzip.NewWriter(w)
		tw := tar.NewWriter(zw)
		if err := addTree(ctx, tw, name, trees); err != nil {
			return err
		}
		return errors.Join(tw.Close(), zw.Close())
	})
}

func hasDTB(t *initramfs.Tree) bool {
	if t == nil {
		return false
	}
	for e := range t.All() {
		if strings.HasSuffix(e.Path, ".dtb") {
			return true
		}
	}
	return false
}

func addTree(ctx context.Context, tw *tar.Writer, prefix string, t *initramfs.Tree) error {
	root := &tar.Header{Typeflag: tar.TypeDir, Name: prefix + "/", Mode: 0o755, ModTime: initramfs.Epoch()}
	if err := tw.WriteHeader(root); err != nil {
		return err
	}
	for e := range t.All() {
		if err := addEntry(ctx, tw, prefix, e); err != nil {
			return fmt.Errorf("adding %q: %w", e.Path, err)
		}
	}
	return nil
}

func addEntry(ctx context.Context, tw *tar.Writer, prefix string, e initramfs.Entry) error {
	header := &tar.Header{Name: path.Join(prefix, e.Path), Mode: int64(e.Mode), ModTime: initramfs.Epoch()}
	switch e.Type {
	case initramfs.Dir:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
	case initramfs.Symlink:
		header.Typeflag, header.Linkname = tar.TypeSymlink, e.Target
	case initramfs.Regular:
		header.Typeflag, header.Size = tar.TypeReg, e.Size
	default:
		return fmt.Errorf("a %s is not a device tree", e.Type)
	}
	if err := tw.WriteHeader(header); err != nil || e.Type != initramfs.Regular {
		return err
	}
	return initramfs.CopyContent(ctx, tw, e)
}
