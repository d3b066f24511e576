// Package kernel opens kernels: HookOS kernel images, distributions' packages,
// directories, and kernels that it has compiled. Each becomes an [Image]: the
// kernel file, its modules with complete depmod data, and its device trees.
// [Open] reads every kind of reference; [Make] stores a flavor's kernel image
// where the user wants it.
//
// Each of the packages below it does one thing. Package deb reads packages,
// inspect reads kernel image formats, modules reads module files and depmod's
// indexes, and kconfig reads configuration files. Package source fetches the
// releases of kernel.org, plan determines which kernel a flavor has, container
// compiles it, and deliver stores the image.
package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/kernel/inspect"
)

// Image is a kernel with everything that belongs to it. It reads from files
// that stay open until [Image.Close].
type Image struct {
	// Release is the output of uname -r ("6.6.32").
	Release string
	// Arch is "x86_64" or "aarch64".
	Arch string
	// Kernel is the file to boot (bzImage, Image, EFI zboot). Its path is
	// "kernel".
	Kernel initramfs.Entry
	// Modules holds lib/modules/<Release>/... with depmod's indexes and
	// without the links "build" and "source". It is empty if the kernel has no
	// modules.
	Modules *initramfs.Tree
	// DTBs holds the device trees, with paths relative to the directory that
	// dtbs_install fills ("rockchip/rk3399-rock-pi-4.dtb"). It is empty on
	// x86_64.
	DTBs *initramfs.Tree
	// SystemMap and Config are the files of those names. They are nil if the
	// source does not have them.
	SystemMap, Config *initramfs.Entry
	// Source is where the kernel came from, as a reference that opens it again.
	Source string
	// Digest identifies the content that the image was made from:
	// "sha256:...".
	Digest string
	// Added is what [Open] added.
	Added Additions
	// Format and Compression describe Kernel in the terms of package inspect.
	Format, Compression string

	// root holds all files that came with the kernel; nil if there are no
	// others.
	root  *initramfs.Tree
	files []io.Closer
	// headers has the files of kernel headers that came with a package.
	headers *initramfs.Tree
	// compiled is set if the kernel was compiled here.
	compiled *compiled
	// drivers are the digests of the module sources whose modules it has.
	drivers []string
	// choice is the key of the choice that its modules are, "" for all modules.
	choice string
}

// File returns a regular file that lies next to the kernel in its image or
// directory, such as a cpio archive of microcode.
func (m *Image) File(name string) (initramfs.Entry, bool) {
	if m.root == nil {
		return initramfs.Entry{}, false
	}
	e, ok := m.root.Find(strings.TrimPrefix(path.Clean("/"+name), "/"))
	return e, ok && e.Type == initramfs.Regular
}

// Options configure the readers of kernels.
type Options struct {
	// Cache keeps downloads and unpacked archives.
	Cache *cache.Cache
	// Web fetches URLs. If nil, a client with the default limits is used.
	Web *web.Client
	// Offline forbids downloads. Files in the cache can still be used.
	Offline bool
	// KeepPacked leaves compressed modules compressed, for a kernel that is
	// inspected and not booted.
	KeepPacked bool
	// Jobs is the number of modules read at once; 0 means one per core.
	Jobs     int
	Progress progress.Sink
}

// Close releases the files that the image reads from.
func (m *Image) Close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	m.files = nil
	return errors.Join(errs...)
}

// modulesDir returns the path of the modules in Modules:
// "lib/modules/<Release>".
func (m *Image) modulesDir() string { return modulesRoot + "/" + m.Release }

// Inspect reads the kernel file's headers. The caller closes the returned
// closer when it is done with the returned image.
func (m *Image) Inspect() (*inspect.Image, io.Closer, error) {
	content, err := openAt(m.Kernel)
	if err != nil {
		return nil, nil, err
	}
	facts, err := inspect.Identify(content, m.Kernel.Size, m.Source)
	if err != nil {
		return nil, nil, errors.Join(err, content.Close())
	}
	return facts, content, nil
}

// identify sets the fields that the headers of the kernel file determine, and
// checks that the modules belong to the kernel.
func (m *Image) identify(ctx context.Context) (err error) {
	facts, content, err := m.Inspect()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	m.Arch, m.Format, m.Compression = facts.Arch, facts.Format, facts.Compression
	release := facts.Release
	if release == "" {
		found, err := facts.Scan(ctx)
		if err != nil {
			return err
		}
		release = found.Release
	}
	return m.setRelease(release)
}

// setRelease sets the release from the kernel or, if the kernel does not
// contain it, from the modules. The two must agree: a kernel loads only its own
// modules.
func (m *Image) setRelease(fromKernel string) error {
	fromModules, err := moduleRelease(m.Modules)
	if err != nil {
		return invalid("reading the kernel %q: %w", m.Source, err)
	}
	switch {
	case fromKernel == "" && fromModules == "":
		return invalid("reading the kernel %q: neither the kernel nor a directory lib/modules/RELEASE names its release", m.Source)
	case fromKernel != "" && fromModules != "" && fromKernel != fromModules:
		return invalid("reading the kernel %q: the kernel is %s and its modules are for %s, so it could not load any of them", m.Source, fromKernel, fromModules)
	case fromKernel == "":
		m.Release = fromModules
	default:
		m.Release = fromKernel
	}
	return nil
}

// Version returns what build.sh calls HOOK_KERNEL_VERSION: the version and hash
// in the tag of a kernel image. For any other kernel it returns the release.
func (m *Image) Version() string {
	ref, _, _ := strings.Cut(m.Source, "@")
	tag := ref[strings.LastIndex(ref, ":")+1:]
	scheme, _, _ := strings.Cut(ref, ":")
	isImage := slices.Contains([]string{"image", "build", "armbian"}, scheme)
	if isImage && (kernelTag.MatchString(tag) || armbianTag.MatchString(tag)) {
		return tag
	}
	return m.Release
}

// String returns a short description of the image for messages.
func (m *Image) String() string {
	return fmt.Sprintf("Linux %s for %s from %s", m.Release, m.Arch, m.Source)
}
