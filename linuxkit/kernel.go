package linuxkit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/tarball"
)

// addKernel adds boot/ and the modules, and sets the result's kernel. The
// modules go under the init images' files: the linuxkit tool unpacks them
// first, with the same result except for a base whose /lib is a symlink.
func (l *layout) addKernel(doc *Document, o Options, images map[string]*Image, res *Result) error {
	conf := doc.Kernel
	part := Part{Where: "kernel", Line: conf.Line}
	switch {
	case o.Kernel != nil:
		part.Name = o.Kernel.Origin
		return l.begin(part).addGivenKernel(*o.Kernel, conf, res)
	case conf.Image == "":
		return nil
	}
	part.Name = ExpandReference(conf.Image)
	part.Digest = images[part.Name].Digest
	return l.begin(part).addKernelImage(conf, images[part.Name].Tree, o.TempDir, res)
}

func (s *source) addGivenKernel(k Kernel, conf KernelConfig, res *Result) error {
	if k.Modules != nil {
		if err := s.graftUnder(k.Modules); err != nil {
			return err
		}
	}
	switch {
	case deref(conf.UCode) == "":
	case k.Microcode == nil:
		return invalid("kernel.ucode (line %d): the kernel %q has no file %q; remove kernel.ucode from the document, or use a kernel image or directory that has it", conf.Line, k.Origin, *conf.UCode)
	default:
		if err := s.addMicrocode(*k.Microcode, res); err != nil {
			return err
		}
	}
	return s.addBoot(k.Kernel, conf.Cmdline, res)
}

func (s *source) addKernelImage(conf KernelConfig, img *initramfs.Tree, tempDir string, res *Result) error {
	kernel, err := imageFile(img, conf, cmp.Or(conf.Binary, "kernel"), "kernel.binary")
	if err != nil {
		return err
	}
	if name := tarName(conf); name != "" {
		if err := s.addModules(img, conf, name, tempDir); err != nil {
			return err
		}
	}
	if ucode := deref(conf.UCode); ucode != "" {
		e, err := imageFile(img, conf, ucode, "kernel.ucode")
		if err != nil {
			return err
		}
		if err := s.addMicrocode(e, res); err != nil {
			return err
		}
	}
	return s.addBoot(kernel, conf.Cmdline, res)
}

// tarName returns the name of the module archive in the kernel image, "" for
// none.
func tarName(conf KernelConfig) string {
	switch {
	case conf.Tar == nil:
		return "kernel.tar"
	case *conf.Tar == "none":
		return ""
	}
	return *conf.Tar
}

// imageFile returns the file of the kernel image that key names.
func imageFile(img *initramfs.Tree, conf KernelConfig, name, key string) (initramfs.Entry, error) {
	e, ok := regularFile(img, cleanFilePath(name))
	if !ok {
		err := fmt.Errorf("reading the kernel image %q (line %d): it has no file %q; its root has %s; set %s in the document", conf.Image, conf.Line, name, rootNames(img), key)
		return e, fault.Mark(err, fault.Invalid)
	}
	return e, nil
}

// rootNames lists the files in a tree's root, for messages.
func rootNames(tree *initramfs.Tree) string {
	var names []string
	for e := range tree.All() {
		if strings.Contains(e.Path, "/") {
			continue
		}
		if len(names) == 20 {
			names = append(names, "...")
			break
		}
		names = append(names, e.Path)
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func (s *source) addBoot(kernel initramfs.Entry, cmdline string, res *Result) error {
	res.Kernel = &kernel
	if err := s.directory("boot"); err != nil {
		return err
	}
	if err := s.file("boot/cmdline", []byte(cmdline)); err != nil {
		return err
	}
	if err := s.add(s.own(bootFile(kernel, "boot/kernel"))); err != nil {
		return err
	}
	kernel.Path = "kernel"
	return nil
}

func (s *source) addMicrocode(e initramfs.Entry, res *Result) error {
	if err := s.directory("boot"); err != nil {
		return err
	}
	e.Path = "boot/ucode.cpio"
	res.Microcode = &e
	return s.add(s.own(bootFile(e, e.Path)))
}

// bootFile returns e under a name in boot/, owned by root.
func bootFile(e initramfs.Entry, name string) initramfs.Entry {
	return initramfs.Entry{Path: name, Type: initramfs.Regular, Mode: e.Mode, Size: e.Size, Open: e.Open, Origin: e.Origin}
}

// addModules unpacks the archive of modules at the root.
func (s *source) addModules(img *initramfs.Tree, conf KernelConfig, name, tempDir string) error {
	e, err := imageFile(img, conf, name, `kernel.tar (to "none" if there are no modules)`)
	if err != nil {
		return err
	}
	content, err := randomAccess(e, tempDir)
	if err != nil {
		return fmt.Errorf("reading %q of the kernel image %q: %w", name, conf.Image, err)
	}
	entries, err := tarball.Entries(content, e.Size, name)
	if err != nil {
		return fmt.Errorf("reading %q of the kernel image %q: %w", name, conf.Image, err)
	}
	var modules initramfs.Tree
	for _, m := range entries {
		if err := modules.Add(m); err != nil {
			return fmt.Errorf("unpacking %q of the kernel image %q: %w", name, conf.Image, err)
		}
	}
	return s.graftUnder(&modules)
}

// randomAccess returns a reader of a file's content at any offset: its own
// reader if that supports it, otherwise a copy in an unnamed file that
// disappears with the last reference to it.
func randomAccess(e initramfs.Entry, tempDir string) (io.ReaderAt, error) {
	if e.Open == nil {
		return strings.NewReader(""), nil
	}
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	if at, ok := r.(io.ReaderAt); ok {
		return at, nil
	}
	f, err := unnamedFile(tempDir)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if _, err := io.Copy(f, r); err != nil {
		return nil, errors.Join(err, r.Close(), f.Close())
	}
	return f, r.Close()
}

func unnamedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "kernel-*.tar")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
