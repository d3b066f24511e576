package container

import (
	"archive/tar"
	"cmp"
	"context"
	_ "embed" // the scripts that run in the container
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"hookbuild/internal/digest"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/kernel/driver"
)

//go:embed files/module.sh
var moduleScript string

//go:embed files/module-build.sh
var moduleBuildScript string

// Against is a kernel that modules are built against: one that was compiled
// here, or one from elsewhere with its headers.
type Against struct {
	// Target is the kernel's target as it was compiled. With Headers, only its
	// architecture counts.
	Target Target
	// Headers has the files of usr/src/linux-headers-RELEASE and what they link
	// to; nil means that the target was compiled here. HeadersDigest identifies
	// them.
	Headers       *initramfs.Tree
	HeadersDigest string
	// Release is the output of uname -r of the kernel.
	Release string
}

// Symvers is the name of the result with the symbols that modules export.
const Symvers = "Module.symvers"

// BuildModule builds the modules of a source and calls take for each module and
// for [Symvers]. Symvers has the symbols that the modules of other sources
// export, by the sources' names.
func (b *Builder) BuildModule(ctx context.Context, k Against, d *driver.Driver, o CompileOptions, symvers map[string][]byte, take func(name string, size int64, content io.Reader) error) (err error) {
	tools, err := toolchainOf(k.Target.Arch)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hookbuild-modules-")
	if err != nil {
		return fmt.Errorf("keeping the modules of %s: %w", d.Name, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	j := job{
		target: k.Target, step: "build", what: "the module " + d.Name, script: "module.sh",
		env:     append(b.environment(tools), o.environment()...),
		collect: func(ctx context.Context, id string) error { return b.saveOutputs(ctx, id, "the modules", dir) },
		prepare: func(ctx context.Context, id string) error { return b.sendDriver(ctx, id, k, d) },
	}
	build, source := "/obj", "/src/linux"
	if k.Headers != nil {
		build = "/usr/src/linux-headers-" + k.Release
		source = build
		j.target.Flavor, j.target.Source = "headers", Source{SHA256: k.HeadersDigest}
		j.volumes = map[string]string{"/ccache": j.target.volumes()["/ccache"]}
	}
	if j.image, err = b.ensureImage(ctx, j.target, tools); err != nil {
		return err
	}
	j.env = append(j.env, "FORM="+d.Form.String(), "DIR="+d.Dir, "RELEASE="+k.Release, "MACHINE="+k.Target.Arch, "KERNEL_BUILD="+build, "KERNEL_SOURCE="+source)
	j.files = moduleFiles(d, symvers)
	if k.Headers == nil {
		j.files["stamp"] = stamp(k.Target, j.image)
	}
	if err := b.run(ctx, j); err != nil {
		return err
	}
	return eachFile(dir, take)
}

// eachFile calls take for each file of a directory, in the order of their names.
func eachFile(dir string, take func(name string, size int64, content io.Reader) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := takeFile(filepath.Join(dir, e.Name()), take); err != nil {
			return err
		}
	}
	return nil
}

func takeFile(name string, take func(name string, size int64, content io.Reader) error) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return take(filepath.Base(name), info.Size(), f)
}

// moduleFiles returns the small files that module.sh reads.
func moduleFiles(d *driver.Driver, symvers map[string][]byte) map[string][]byte {
	files := map[string][]byte{"module-build.sh": []byte(moduleBuildScript), "arguments": []byte(quoted(d.Make))}
	for name, text := range symvers {
		files["symvers/"+name] = text
	}
	return files
}

// quoted returns words as a shell reads them back.
func quoted(list []string) string {
	var all []string
	for _, word := range list {
		all = append(all, words.Shell(word))
	}
	return strings.Join(all, " ")
}

// sendDriver copies the module source to /job/source, and headers to their place.
func (b *Builder) sendDriver(ctx context.Context, id string, k Against, d *driver.Driver) error {
	task := progress.Start(b.o.Progress, 0, "send the module source %s to the Docker engine", d)
	err := b.send(ctx, id, "/", func(w *tar.Writer) error {
		if err := sendTree(w, "job/source", d.Tree, task); err != nil || k.Headers == nil {
			return err
		}
		return sendTree(w, "", k.Headers, task)
	})
	return task.End(err, "")
}

// sendTree writes the files of a tree below a directory. Hard links come last,
// because their targets may follow them.
func sendTree(w *tar.Writer, below string, t *initramfs.Tree, task *progress.Task) error {
	if below != "" {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: below + "/", Mode: 0o755}); err != nil {
			return err
		}
	}
	var links []initramfs.Entry
	for e := range t.All() {
		e.Path = path.Join(below, e.Path)
		if e.Type == initramfs.HardLink {
			e.Target = path.Join(below, e.Target)
			links = append(links, e)
			continue
		}
		if err := sendEntry(w, e, task); err != nil {
			return err
		}
	}
	for _, e := range links {
		if err := sendEntry(w, e, task); err != nil {
			return err
		}
	}
	return nil
}

func sendEntry(w *tar.Writer, e initramfs.Entry, task *progress.Task) (err error) {
	header := &tar.Header{Name: e.Path, Mode: int64(e.Mode), ModTime: e.ModTime}
	switch e.Type {
	case initramfs.Regular:
		header.Typeflag, header.Size = tar.TypeReg, e.Size
	case initramfs.Dir:
		header.Typeflag, header.Name = tar.TypeDir, e.Path+"/"
	case initramfs.Symlink:
		header.Typeflag, header.Linkname = tar.TypeSymlink, e.Target
	case initramfs.HardLink:
		header.Typeflag, header.Linkname = tar.TypeLink, e.Target
	default:
		return fmt.Errorf("%q is a %s", e.Path, e.Type)
	}
	if err := w.WriteHeader(header); err != nil || e.Type != initramfs.Regular || e.Open == nil {
		return err
	}
	f, err := e.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(w, task.Reader(f))
	return err
}

// Recipe identifies what builds modules, apart from their source and the kernel: the
// builder image, as far as the options name it, and the scripts.
func (o Options) Recipe() string {
	return digest.OfStrings(o.imageID(), moduleScript, moduleBuildScript)
}

// imageID identifies the builder image as far as the options name it.
func (o Options) imageID() string {
	switch {
	case o.Pin != nil && o.Pin.ID != "":
		return o.Pin.ID
	case o.Image != "":
		return o.Image
	}
	return Dockerfile() + "\x00" + cmp.Or(o.Base, defaultBase)
}

// CompileRecipe identifies what compiles kernels, apart from their source: the
// builder image, as far as the options name it, and all scripts.
func (o Options) CompileRecipe() (string, error) {
	parts := []string{o.imageID()}
	names, err := fs.Glob(scripts, "files/*.sh")
	for _, name := range names {
		text, readErr := scripts.ReadFile(name)
		err = errors.Join(err, readErr)
		parts = append(parts, string(text))
	}
	return digest.OfStrings(parts...), err
}
