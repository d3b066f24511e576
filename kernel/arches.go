package kernel

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/web"
	"hookbuild/kernel/deb"
	"hookbuild/kernel/flavor"
)

// Arches returns the architectures ("x86_64", "aarch64") for which ref has a kernel. It
// returns none where that is not known without asking the network or an engine: for the
// kernel of a flavor, and for an image in a registry. A package at a URL is judged by the
// end of its name, NAME_VERSION_ARCH.deb. A file or directory that does not exist is an
// [fs.ErrNotExist].
func Arches(ctx context.Context, ref string, o OpenOptions) ([]string, error) {
	s, err := find(ref)
	if err != nil || s.arches == nil {
		return nil, err
	}
	name, rest, _ := strings.Cut(ref, ":")
	return s.arches(ctx, name, rest, o)
}

// debArches reads the architecture of the packages, which are all of one kernel.
func debArches(ctx context.Context, _, rest string, o OpenOptions) ([]string, error) {
	for source := range strings.SplitSeq(rest, ",") {
		name, err := debArch(ctx, source, o.Options)
		if err != nil {
			return nil, err
		}
		switch name { // "all" is a package without a kernel
		case "amd64":
			return []string{flavor.X86_64}, nil
		case "arm64":
			return []string{flavor.AArch64}, nil
		}
	}
	return nil, nil
}

// debArch returns a package's architecture in Debian's words, "" if it is not known.
func debArch(ctx context.Context, source string, o Options) (_ string, err error) {
	if web.IsURL(source) {
		address, _, _ := strings.Cut(source, "#")
		name, _ := strings.CutSuffix(address, ".deb")
		return name[strings.LastIndex(name, "_")+1:], nil
	}
	f, err := fetch.Open(ctx, source, fetch.Options{Cache: o.Cache, Offline: true, Progress: o.Progress})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	p, err := deb.Open(f, f.Size(), source)
	if err != nil {
		return "", err
	}
	return p.Fields["Architecture"], nil
}

// dirArches reads the header of a directory's kernel.
func dirArches(ctx context.Context, _, dir string, _ OpenOptions) (_ []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, invalid("reading a kernel from a directory: %w", err)
	}
	m := &Image{Modules: &initramfs.Tree{}, DTBs: &initramfs.Tree{}, Source: "dir:" + dir, files: []io.Closer{root}}
	defer func() { err = errors.Join(err, m.Close()) }()
	files, err := dirTree(ctx, root, dir)
	if err != nil {
		return nil, err
	}
	if e, ok := files.Find(ociKernel); ok {
		m.Kernel = e
	} else if err := m.fillFromInstalled(files); err != nil {
		return nil, err
	}
	facts, content, err := m.Inspect()
	if err != nil {
		return nil, err
	}
	return []string{facts.Arch}, content.Close()
}

// imageArches asks an image in a file or directory of this machine for each platform.
func imageArches(ctx context.Context, name, rest string, o OpenOptions) ([]string, error) {
	source := imageSourceName(name, rest)
	if kind, _, _ := strings.Cut(source, ":"); kind != "oci" && kind != "oci-archive" && kind != "docker-archive" {
		return nil, nil
	}
	var all []string
	for _, o.Arch = range []string{flavor.X86_64, flavor.AArch64} {
		_, err := o.image(ctx, source)
		switch {
		case err == nil:
			all = append(all, o.Arch)
		case !oci.LacksPlatform(err):
			return nil, err
		}
	}
	return all, nil
}
