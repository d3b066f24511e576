package verify

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"hookbuild/build"
	"hookbuild/embed"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
)

// checkSystems looks into each initramfs.
func (v *verifier) checkSystems(ctx context.Context) error {
	wanted := initramfsPrefix + v.request.Arch
	looked := false
	for _, name := range v.files {
		if !strings.HasPrefix(name, initramfsPrefix) || v.request.Arch != "" && name != wanted {
			continue
		}
		looked = true
		if !v.isFile(name) {
			continue // it is told already; opening it may block
		}
		if err := v.checkSystem(ctx, name); err != nil {
			return err
		}
	}
	missed := func(name string) bool { return strings.HasPrefix(name, wanted) } // and told so already
	if !looked && !slices.ContainsFunc(v.listing.names(), missed) {
		v.wrong(wanted, "there is none here; name the directory with the artifacts of that architecture, or build them")
	}
	return nil
}

func (v *verifier) isFile(name string) bool {
	info, err := os.Stat(v.path(name))
	return err == nil && info.Mode().IsRegular()
}

func (v *verifier) checkSystem(ctx context.Context, name string) (err error) {
	existing, err := v.builder.OpenInitramfs(ctx, v.path(name))
	if err != nil {
		return v.take(ctx, name, err)
	}
	defer func() { err = errors.Join(err, existing.Close()) }()
	contents := existing.Contents
	s := System{Initramfs: name, Segments: len(contents.Segments), Files: contents.Tree.Len()}
	v.checkContents(name, contents)
	if err := v.checkKernel(ctx, &s, contents.Tree); err != nil {
		return err
	}
	if err := v.checkImages(ctx, &s, existing); err != nil {
		return err
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
func (v *verifier) checkKernel(ctx context.Context, s *System, tree *initramfs.Tree) error {
	arch := strings.TrimPrefix(s.Initramfs, initramfsPrefix)
	name := "vmlinuz-" + arch
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
	if !strings.HasSuffix(arch, k.Arch) {
		v.wrong(name, "it is a kernel for %s; build it again", k.Arch)
	}
	return k.Close()
}

// checkImages puts every embedded image together again, and looks for those
// that the manifest says were embedded.
func (v *verifier) checkImages(ctx context.Context, s *System, existing *build.Existing) error {
	store, err := existing.Store()
	if err != nil {
		return v.take(ctx, s.Initramfs, err)
	}
	recorded := v.listing.embedded(s.Initramfs)
	if store == nil {
		if len(recorded) > 0 {
			v.wrong(s.Initramfs, "it has no images on board, and %s names %d; build it again", build.ManifestFile, len(recorded))
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
func (l listing) embedded(name string) []build.EmbeddedRecord {
	for _, b := range l.builds {
		if slices.ContainsFunc(b.Artifacts, func(a build.Artifact) bool { return a.Name == name }) {
			return b.Embedded
		}
	}
	return nil
}

func (v *verifier) checkRecorded(s *System, recorded []build.EmbeddedRecord) {
	for _, r := range recorded {
		for _, name := range r.Names {
			id, found, err := s.store.Lookup(name)
			switch {
			case err != nil:
				v.wrong(build.ManifestFile, "%v", err)
			case !found:
				v.wrong(s.Initramfs, "the image %s, which %s names, is not on board; on board are %s", name, build.ManifestFile, s.onBoard())
			case id.String() != r.ID:
				v.wrong(s.Initramfs, "the image %s is %s, and %s names %s; build it again", name, id, build.ManifestFile, r.ID)
			}
		}
	}
}

// lookup tells whether a container finds its image without a registry.
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
