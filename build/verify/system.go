package verify

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"hookbuild/build/artifact"
	"hookbuild/build/remaster"
	"hookbuild/embed"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/flavor"
)

// checkSystems looks into each initramfs.
func (v *verifier) checkSystems(ctx context.Context) error {
	wanted := func(name string) bool {
		return strings.HasPrefix(name, initramfsPrefix) && (v.request.Arch == "" || v.archOf(name) == v.request.Arch)
	}
	looked := false
	for _, name := range v.files {
		if !wanted(name) {
			continue
		}
		looked = true
		if v.isSound(name) {
			continue
		}
		if !v.isFile(name) {
			continue // it is told already; opening it may block
		}
		if err := v.checkSystem(ctx, name, vmlinuzPrefix+strings.TrimPrefix(name, initramfsPrefix)); err != nil {
			return err
		}
	}
	if !looked && !slices.ContainsFunc(v.listing.names(), wanted) { // a missing one is reported already
		v.wrong(initramfsPrefix+v.request.Arch, "there is none here; name the directory with the artifacts of that architecture, or build them")
	}
	return nil
}

// isSound reports whether the file is a link whose content is that of another
// one here, which is looked into by its own name.
func (v *verifier) isSound(name string) bool {
	to := v.listing.records[name].Link
	found := v.found(name)
	return to != "" && found != nil && v.isFile(to) && v.found(to) != nil && found.SHA512 == v.found(to).SHA512
}

// found returns what the file was found to be; nil when it could not be read.
func (v *verifier) found(name string) *artifact.File {
	i := slices.IndexFunc(v.report.Artifacts, func(f artifact.File) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &v.report.Artifacts[i]
}

// archOf returns the architecture of a vmlinuz or initramfs: the manifest's, else
// the one that its name ends in; "" when neither is known.
func (v *verifier) archOf(name string) string {
	for _, b := range v.listing.builds {
		if slices.ContainsFunc(b.Artifacts, func(f artifact.File) bool { return f.Name == name }) {
			return b.Arch
		}
	}
	for _, arch := range []string{flavor.X86_64, flavor.AArch64} {
		if strings.HasSuffix(name, arch) {
			return arch
		}
	}
	return ""
}

func (v *verifier) isFile(name string) bool {
	info, err := os.Stat(v.path(name))
	return err == nil && info.Mode().IsRegular()
}

func (v *verifier) checkSystem(ctx context.Context, name, kernelName string) (err error) {
	existing, err := v.editor.Open(ctx, v.path(name))
	if err != nil {
		return v.take(ctx, name, err)
	}
	defer func() { err = errors.Join(err, existing.Close()) }()
	contents := existing.Contents
	s := System{Initramfs: name, Segments: len(contents.Segments), Files: contents.Tree.Len()}
	v.checkContents(name, contents)
	if err := v.checkKernel(ctx, &s, kernelName, contents.Tree); err != nil {
		return err
	}
	if err := v.checkImages(ctx, &s, existing); err != nil {
		return err
	}
	if s.store != nil {
		if err := v.warnOfContainerd(name, contents.Tree); err != nil {
			return v.take(ctx, name, err)
		}
	}
	v.report.Systems = append(v.report.Systems, s)
	return nil
}

// checkContents finds what would keep the kernel from starting what is there.
func (v *verifier) checkContents(name string, contents *initramfs.File) {
	for _, lost := range contents.Lost {
		v.wrong(name, "the kernel drops %q without a word: %s; build it again", lost.Path, lost.Reason)
	}
	if problem := initProblem(contents.Tree); problem != "" {
		v.wrong(name, "%s; add what has one, such as linuxkit/init, to the `init:` of its template", problem)
	}
}

func initProblem(tree *initramfs.Tree) string {
	at, found := tree.Resolve("init")
	init, _ := tree.Lookup(at)
	if init.Type == initramfs.HardLink {
		init, found = tree.Lookup(init.Target)
	}
	switch {
	case !found:
		return "it has no /init, so the kernel starts nothing"
	case init.Type != initramfs.Regular:
		return "its /init is a " + init.Type.String() + ", so the kernel starts nothing"
	case init.Mode&0o111 == 0 || init.Size == 0:
		return "its /init cannot be executed, so the kernel starts nothing"
	}
	return ""
}

// checkKernel reads the vmlinuz beside the initramfs; it loads no other modules
// than those of its own release.
func (v *verifier) checkKernel(ctx context.Context, s *System, name string, tree *initramfs.Tree) error {
	if !v.isFile(name) {
		if !v.listing.known(name) { // else it is told already
			v.wrong(name, "there is none beside %s; machines ask for both", s.Initramfs)
		}
		return nil
	}
	k, err := kernel.FromParts(ctx, v.path(name), tree)
	if err != nil {
		return v.take(ctx, name, err)
	}
	s.Kernel = k.Release
	if arch := v.archOf(name); arch != "" && arch != k.Arch {
		v.wrong(name, "it is a kernel for %s; build it again", k.Arch)
	}
	return k.Close()
}

// checkImages puts every embedded image together again, and looks for those
// that the manifest says were embedded.
func (v *verifier) checkImages(ctx context.Context, s *System, existing *remaster.Existing) error {
	store, err := existing.Store()
	if err != nil {
		return v.take(ctx, s.Initramfs, err)
	}
	recorded := v.listing.embedded(s.Initramfs)
	if store == nil {
		if len(recorded) > 0 {
			v.wrong(s.Initramfs, "it has no images on board, and %s names %d; build it again", artifact.ManifestFile, len(recorded))
		}
		return nil
	}
	s.store = store
	for _, image := range store.Images() {
		s.Images = append(s.Images, Image{image.ID.String(), slices.Concat(image.Names, image.Digests), image.Size})
	}
	return v.during(v.start(0, "put the images of %s together", s.Initramfs), func() error {
		v.checkRecorded(s, recorded)
		return v.take(ctx, s.Initramfs, store.Verify(ctx))
	})
}

// embedded lists what the manifest says the initramfs carries.
func (l listing) embedded(name string) []artifact.OnBoard {
	for _, b := range l.builds {
		if slices.ContainsFunc(b.Artifacts, func(a artifact.File) bool { return a.Name == name }) {
			return b.Embedded
		}
	}
	return nil
}

func (v *verifier) checkRecorded(s *System, recorded []artifact.OnBoard) {
	for _, r := range recorded {
		for _, name := range r.Names {
			id, found, err := s.store.Lookup(name)
			switch {
			case err != nil:
				v.wrong(artifact.ManifestFile, "%v", err)
			case !found:
				v.wrong(s.Initramfs, "the image %s, which %s names, is not on board; on board are %s", name, artifact.ManifestFile, s.onBoard())
			case id.String() != r.ID:
				v.wrong(s.Initramfs, "the image %s is %s, and %s names %s; build it again", name, id, artifact.ManifestFile, r.ID)
			}
		}
	}
}

// lookup reports whether a container finds its image without a registry.
func (s *System) lookup(name string) (bool, error) {
	if s.store == nil {
		_, err := embed.Name(name)
		return false, err
	}
	_, found, err := s.store.Lookup(name)
	return found, err
}

// onBoard lists the images' names.
func (s *System) onBoard() string {
	var names []string
	for _, image := range s.Images {
		names = append(names, image.Names...)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
