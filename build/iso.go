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
	"hookbuild/linuxkit/iso"
)

// writeISO writes an ISO image with the staged kernel and initramfs, and returns
// the boot loader's name and digest.
func (b *Builder) writeISO(ctx context.Context, s *artifact.Stage, p *plan) (*artifact.Input, error) {
	loader, name, err := b.isoLoader(ctx, p)
	if err != nil {
		return nil, err
	}
	img := iso.Image{Arch: p.Flavor.DockerArch(), Loader: loader, Cmdline: p.base.document.Kernel.Cmdline, ModTime: p.SourceDate}
	if img.Kernel, err = fileContent(s.Path("vmlinuz-" + p.OutputID)); err != nil {
		return nil, fmt.Errorf("writing the ISO image: %w", err)
	}
	if img.Initramfs, err = fileContent(s.Path("initramfs-" + p.OutputID)); err != nil {
		return nil, fmt.Errorf("writing the ISO image: %w", err)
	}
	digest, err := digestOfContent(ctx, loader)
	if err != nil {
		return nil, fmt.Errorf("reading the boot loader %q: %w", name, err)
	}
	record := &artifact.Input{Name: path.Base(name), Digest: digest}
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
func (b *Builder) isoLoader(ctx context.Context, p *plan) (iso.Content, string, error) {
	arch := p.Flavor.DockerArch()
	if p.ISO.Loader == "" {
		return iso.LocalLoader(os.DirFS("/"), arch)
	}
	info, err := os.Stat(p.ISO.Loader)
	switch {
	case err == nil && info.IsDir():
		return iso.DirLoader(os.DirFS(p.ISO.Loader), arch)
	case err == nil:
		content, err := fileContent(p.ISO.Loader)
		return content, p.ISO.Loader, err
	case !errors.Is(err, fs.ErrNotExist):
		return iso.Content{}, "", fault.Invalidf("reading the boot loader: %w", err)
	}
	tree, err := b.loaderTree(ctx, p.ISO.Loader, arch)
	if err != nil {
		return iso.Content{}, "", fmt.Errorf("finding the boot loader %q, which is neither a file nor a directory here: %w", p.ISO.Loader, err)
	}
	return iso.FindLoader(tree, arch)
}

func (b *Builder) loaderTree(ctx context.Context, ref, arch string) (*initramfs.Tree, error) {
	img, err := b.Client.Image(ctx, ref, platformOf(arch))
	if err != nil {
		return nil, err
	}
	if err := img.Fetch(ctx); err != nil {
		return nil, err
	}
	return img.Tree(ctx)
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
