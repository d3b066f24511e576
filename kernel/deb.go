package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/tarball"
	"hookbuild/internal/web"
	"hookbuild/kernel/deb"
)

// debSource reads a comma-separated list of packages.
func debSource() source {
	return source{
		names: []string{"deb"}, forms: []string{"deb:FILE"},
		check: func(rest string, _ OpenOptions) error { return checkPackages(strings.Split(rest, ",")) },
		pin: func(ctx context.Context, _, rest string, o OpenOptions) (*Pinned, error) {
			return pinFiles(ctx, strings.Split(rest, ","), o)
		},
		arches: debArches,
		open: func(ctx context.Context, _, rest string, o OpenOptions) (*Image, error) {
			return FromDeb(ctx, strings.Split(rest, ","), o.Options)
		},
	}
}

// checkPackages returns an error for a directory among the packages. It names those
// in the directory that a kernel may be in.
func checkPackages(sources []string) error {
	for _, source := range sources {
		if web.IsURL(source) {
			continue
		}
		entries, err := os.ReadDir(source)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) {
			continue // a kit may have the file; one that cannot be opened is reported then
		}
		if err != nil {
			return invalid("reading the kernel package %q: %w", source, err)
		}
		packages := kernelPackages(source, entries)
		if len(packages) == 0 {
			return invalid("reading the kernel package %q: it is a directory without .deb files; name a package as deb:FILE, or what make install and modules_install left as dir:DIR", source)
		}
		const most = 8
		more := ""
		if len(packages) > most {
			more = fmt.Sprintf(" and %d more", len(packages)-most)
			packages = packages[:most]
		}
		return invalid("reading the kernel package %q: it is a directory; name the packages of one kernel in it as deb:FILE or deb:FILE,FILE: %s%s",
			source, strings.Join(packages, ", "), more)
	}
	return nil
}

// kernelPackages returns the paths of a directory's packages that may have a kernel
// or its modules, or of all packages if no name is like that.
func kernelPackages(dir string, entries []os.DirEntry) []string {
	var all, likely []string
	for _, e := range entries {
		name := e.Name()
		if path.Ext(name) != ".deb" {
			continue
		}
		all = append(all, filepath.Join(dir, name))
		for _, prefix := range []string{"linux-image-", "linux-modules-", "linux-binary-", "linux-base-"} {
			if strings.HasPrefix(name, prefix) && !strings.Contains(name, "-dbg") {
				likely = append(likely, filepath.Join(dir, name))
				break
			}
		}
	}
	if len(likely) > 0 {
		return likely
	}
	return all
}

// FromDeb reads a distribution's kernel from its .deb packages, which are paths
// or http(s) URLs. Debian and Armbian need one package. Ubuntu keeps the
// modules in linux-modules-* (and linux-modules-extra-*), so it needs those
// too.
func FromDeb(ctx context.Context, sources []string, o Options) (*Image, error) {
	m := &Image{Modules: &initramfs.Tree{}, DTBs: &initramfs.Tree{}, Source: "deb:" + shown(sources)}
	err := m.fillFromDebs(ctx, sources, o)
	if err == nil {
		err = m.complete(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// shown returns the packages in a form that is safe in messages and manifests.
func shown(sources []string) string {
	var all []string
	for _, source := range sources {
		all = append(all, web.Show(source))
	}
	return strings.Join(all, ",")
}

func (m *Image) fillFromDebs(ctx context.Context, sources []string, o Options) error {
	var packages []*deb.Package
	var digests []string
	for _, source := range sources {
		p, sum, err := m.addDeb(ctx, source, o)
		if err != nil {
			return err
		}
		packages, digests = append(packages, p), append(digests, sum)
	}
	m.Digest = digests[0]
	if len(digests) > 1 {
		m.Digest = "sha256:" + digest.OfStrings(digests...)
	}
	return m.checkDebs(packages)
}

// addDeb adds the files of one package.
func (m *Image) addDeb(ctx context.Context, source string, o Options) (_ *deb.Package, sum string, err error) {
	f, err := fetch.Open(ctx, source, fetch.Options{Cache: o.Cache, Web: o.Web, Offline: o.Offline, Progress: o.Progress})
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	source = web.Show(source)
	p, err := deb.Open(f, f.Size(), source)
	if err != nil {
		return nil, "", err
	}
	if sum, err = fetch.Digest(ctx, f); err != nil {
		return nil, "", fmt.Errorf("reading the package %q: %w", source, err)
	}
	data, err := debData(ctx, p, sum, o)
	if err != nil {
		return nil, "", invalid("unpacking the package %q: %w", source, err)
	}
	m.files = append(m.files, data)
	entries, err := tarball.Entries(data, data.Size(), source)
	if err != nil {
		return nil, "", err
	}
	return p, sum, m.addDebFiles(entries)
}

// debData returns the package's uncompressed data archive from the cache.
func debData(ctx context.Context, p *deb.Package, sum string, o Options) (*cache.File, error) {
	f, _, err := o.Cache.Derived(ctx, "kernels", digest.OfStrings("deb data v1", sum), func(w io.Writer) error {
		r, err := p.Data(ctx)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(w, r)
		return err
	})
	return f, err
}

func (m *Image) addDebFiles(entries []initramfs.Entry) error {
	for _, e := range entries {
		if err := m.addDebFile(e); err != nil {
			return err
		}
	}
	return nil
}

func (m *Image) addDebFile(e initramfs.Entry) error {
	dir, base := path.Split(e.Path)
	boot := dir == "boot/" && e.Type == initramfs.Regular
	isKernel := boot && strings.HasPrefix(base, "vmlinu")
	name, beside := besideModules(e)
	if m.Kernel.Path != "" && (isKernel || beside && name == "vmlinuz") {
		return invalid("reading %s: it holds more than one kernel; name the packages of a single kernel", m.Source)
	}
	switch {
	case beside:
		return m.addBeside(name, e)
	case isKernel:
		m.Kernel = *renamed(e, ociKernel)
	case boot && strings.HasPrefix(base, "config-"):
		m.Config = renamed(e, ociConfig)
	case boot && strings.HasPrefix(base, "System.map"):
		m.SystemMap = renamed(e, ociSystemMap)
	}
	if isHeader(e.Path) {
		return m.addHeader(e)
	}
	if name, ok := dtbPath(e.Path); ok && (e.Type == initramfs.Regular || e.Type == initramfs.Dir) {
		e.Path = name
		return m.DTBs.Add(e)
	}
	return addModule(m.Modules, e)
}

// dtbPath returns a file's path below the directory of device trees:
// usr/lib/linux-image-RELEASE (Debian, Armbian) or
// usr/lib/firmware/RELEASE/device-tree (Ubuntu).
func dtbPath(name string) (string, bool) {
	rest, found := strings.CutPrefix(strings.TrimPrefix(name, "usr/"), "lib/linux-image-")
	if found {
		_, below, found := strings.Cut(rest, "/")
		return below, found && below != ""
	}
	rest, found = strings.CutPrefix(strings.TrimPrefix(name, "usr/"), "lib/firmware/")
	if found {
		_, below, found := strings.Cut(rest, "/device-tree/")
		return below, found && below != ""
	}
	return "", false
}

// checkDebs returns an error that explains why the packages do not make up a
// whole kernel.
func (m *Image) checkDebs(packages []*deb.Package) error {
	if err := m.checkSplit(packages); err != nil {
		return err
	}
	var names, kernels, modules []string
	for _, p := range packages {
		names = append(names, p.Name())
		for _, d := range p.Depends() {
			switch {
			case strings.HasPrefix(d, "linux-image-"):
				kernels = append(kernels, d)
			case strings.HasPrefix(d, "linux-modules-"):
				modules = append(modules, d)
			}
		}
	}
	all := strings.Join(names, ", ")
	if m.Kernel.Path == "" {
		return noKernel(all, kernels)
	}
	release, err := moduleRelease(m.Modules)
	if err == nil && release == "" && len(modules) > 0 {
		return invalid("reading %s: the modules are in another package; add it: %s,%s.deb", all, m.Source, modules[0])
	}
	return nil
}

// splitDebs lists the packages that make up a kernel of Debian since Linux 7.3:
// the kernel, its modules, and its configuration with the device trees.
// linux-image-RELEASE only depends on them.
func splitDebs(release string) []string {
	return []string{"linux-binary-" + release, "linux-modules-" + release, "linux-base-" + release}
}

// checkSplit returns an error that names those of a kernel's packages that are
// not given.
func (m *Image) checkSplit(packages []*deb.Package) error {
	given := map[string]bool{}
	release := ""
	for _, p := range packages {
		given[p.Fields["Package"]] = true
		for _, name := range append(p.Depends(), p.Fields["Package"]) {
			for _, prefix := range []string{"linux-binary-", "linux-base-"} {
				if rest, ok := strings.CutPrefix(name, prefix); ok {
					release = rest
				}
			}
		}
	}
	lacking := slices.DeleteFunc(splitDebs(release), func(name string) bool { return given[name] })
	if release == "" || len(lacking) == 0 {
		return nil
	}
	return invalid("reading %s: this kernel is in the packages %s; give all of them, separated by commas (not given: %s)",
		m.Source, strings.Join(splitDebs(release), ", "), strings.Join(lacking, ", "))
}

func noKernel(packages string, depends []string) error {
	if len(depends) > 0 {
		return invalid("reading %s: it is a metapackage without a kernel; use the package %s, on which it depends", packages, depends[0])
	}
	return invalid("reading %s: it has no boot/vmlinuz* and no lib/modules/RELEASE/vmlinuz, so it holds no kernel; use a package named linux-image-RELEASE", packages)
}
