package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"hookbuild/build/artifact"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/linuxkit/iso"
)

// writeISO writes an ISO image with the staged kernel and initramfs, and returns
// the boot loader's name and digest.
func (b *Builder) writeISO(ctx context.Context, s *artifact.Stage, p *plan) (*artifact.Input, error) {
	var err error
	img := iso.Image{Arch: p.Flavor.DockerArch(), Loader: p.loader, Cmdline: p.base.document.Kernel.Cmdline, ModTime: p.SourceDate}
	if img.Kernel, err = fileContent(s.Path("vmlinuz-" + p.OutputID)); err != nil {
		return nil, fmt.Errorf("writing the ISO image: %w", err)
	}
	if img.Initramfs, err = fileContent(s.Path("initramfs-" + p.OutputID)); err != nil {
		return nil, fmt.Errorf("writing the ISO image: %w", err)
	}
	digest, err := digestOfContent(ctx, p.loader)
	if err != nil {
		return nil, fmt.Errorf("reading the boot loader %q: %w", p.loaderName, err)
	}
	record := &artifact.Input{Name: path.Base(p.loaderName), Digest: digest}
	s.Beside(p.isoName())
	return record, s.WriteAside(p.isoName(), func(w io.Writer) error { return iso.Write(ctx, w, img) })
}

// isoName returns build.sh's name for the image.
func (r Request) isoName() string { return r.Name + "-" + r.OutputID + "-efi-initrd.iso" }

// checkLoader returns an error if the boot loader of the ISO image is to be on this
// machine and is not.
func (r Request) checkLoader() error {
	if r.ISO == nil || r.Locked != nil {
		return nil
	}
	arch := r.Flavor.DockerArch()
	if r.ISO.Loader == "" {
		_, _, err := iso.LocalLoader(os.DirFS("/"), arch)
		return err
	}
	if info, err := os.Stat(r.ISO.Loader); err == nil && info.IsDir() {
		_, _, err := iso.DirLoader(os.DirFS(r.ISO.Loader), arch)
		return err
	}
	return nil
}

// isoLoader returns the boot loader in the image, directory or file that the
// request names, or else the one that this machine's distribution installed.
func (b *Builder) isoLoader(ctx context.Context, r Request) (iso.Content, string, error) {
	arch, loader := r.Flavor.DockerArch(), r.ISO.Loader
	if loader == "" {
		return iso.LocalLoader(os.DirFS("/"), arch)
	}
	info, err := os.Stat(loader)
	switch {
	case err == nil && info.IsDir():
		return iso.DirLoader(os.DirFS(loader), arch)
	case err == nil:
		content, err := fileContent(loader)
		return content, loader, err
	case !errors.Is(err, fs.ErrNotExist):
		return iso.Content{}, "", fault.Invalidf("reading the boot loader: %w", err)
	}
	img, err := b.loaderImage(ctx, r)
	if err != nil {
		return iso.Content{}, "", err
	}
	err = img.Fetch(ctx)
	var tree *initramfs.Tree
	if err == nil {
		tree, err = img.Tree(ctx)
	}
	if err != nil {
		return iso.Content{}, "", fmt.Errorf("reading the boot loader %q: %w", loader, err)
	}
	content, name, err := iso.FindLoader(tree, arch)
	if err != nil {
		err = fmt.Errorf("reading the boot loader %q: %w", loader, err)
	}
	return content, name, err
}

// loaderImage finds the image that has the boot loader.
func (b *Builder) loaderImage(ctx context.Context, r Request) (*oci.Image, error) {
	img, err := b.Client.Image(ctx, r.ISO.Loader, platformOf(r.Flavor.DockerArch()))
	if err != nil {
		return nil, fmt.Errorf("finding the boot loader %q (--iso-loader), which is neither a file nor a directory here: %w", r.ISO.Loader, err)
	}
	return img, nil
}

func fileContent(name string) (iso.Content, error) {
	info, err := os.Stat(name)
	if err != nil {
		return iso.Content{}, err
	}
	return iso.Content{Size: info.Size(), Open: func() (io.ReadCloser, error) { return os.Open(name) }}, nil
}

func digestOfContent(ctx context.Context, c iso.Content) (string, error) {
	r, err := c.Open()
	if err != nil {
		return "", err
	}
	sum, err := digest.OfReader(ctx, r)
	return sum, errors.Join(err, r.Close())
}

// writeRootFS writes the root file system as a tar archive, and the list of its
// files, under build.sh's names.
func writeRootFS(ctx context.Context, s *artifact.Stage, p *plan) error {
	result, err := p.assembly.assembled(ctx)
	if err != nil {
		return err
	}
	name := p.rootFSName()
	if err := s.WriteAside(name+".tar", func(w io.Writer) error { return result.WriteTar(ctx, w, p.SourceDate) }); err != nil {
		return err
	}
	return s.WriteAside(name+".filelist", result.WriteFileList)
}
