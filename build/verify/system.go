package verify

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"hookbuild/build/artifact"
	"hookbuild/build/remaster"
	"hookbuild/embed"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/flavor"
)

// checkSystems checks each initramfs.
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
			continue // this is reported already, and opening a pipe would block
		}
		if err := v.checkSystem(ctx, name, vmlinuzPrefix+strings.TrimPrefix(name, initramfsPrefix)); err != nil {
			return err
		}
	}
	if !looked && !slices.ContainsFunc(v.listing.names(), wanted) { // one that is listed is reported already
		v.wrong(initramfsPrefix+v.request.Arch, "it is not in the directory; name the directory with the artifacts of that architecture, or build them")
	}
	return nil
}

// isSound reports whether the file is a link with the content of another file in
// the directory, which is checked under its own name.
func (v *verifier) isSound(name string) bool {
	to := v.listing.records[name].Link
	found := v.found(name)
	return to != "" && found != nil && v.isFile(to) && v.found(to) != nil && found.SHA512 == v.found(to).SHA512
}

// found returns the size and checksum of the file, or nil if it could not be read.
func (v *verifier) found(name string) *artifact.File {
	i := slices.IndexFunc(v.report.Artifacts, func(f artifact.File) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &v.report.Artifacts[i]
}

// archOf returns the architecture of a vmlinuz or initramfs: that of the manifest,
// else the one at the end of its name, else "".
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
	s.NoGetty = noGetty(contents.Tree)
	v.checkContents(name, contents)
	if err := v.checkKernel(ctx, &s, kernelName, contents.Tree); err != nil {
		return err
	}
	if err := v.checkImages(ctx, &s, existing); err != nil {
		return err
	}
	if !s.Damaged {
		if err := v.take(ctx, name, v.examineWorker(ctx, &s)); err != nil {
			return err
		}
	}
	if s.store != nil {
		if err := v.warnOfContainerd(name, contents.Tree); err != nil {
			return v.take(ctx, name, err)
		}
	}
	v.report.Systems = append(v.report.Systems, s)
	return v.take(ctx, name, v.listSystem(ctx, existing, name))
}

// noGetty reports whether a system has LinuxKit's services, and none of them is a getty.
func noGetty(tree *initramfs.Tree) bool {
	services := 0
	for e := range tree.All() {
		if !matches("containers/services/*/config.json", e.Path) {
			continue
		}
		services++
		if strings.Contains(path.Base(path.Dir(e.Path)), "getty") {
			return false
		}
	}
	return services > 0
}

// checkContents checks that the kernel unpacks all files and can start /init.
func (v *verifier) checkContents(name string, contents *initramfs.File) {
	for _, lost := range contents.Lost {
		v.wrong(name, "the kernel silently drops %q: %s; build it again", lost.Path, lost.Reason)
	}
	if problem := initProblem(contents.Tree); problem != "" {
		v.wrong(name, "%s; add an image with one, such as linuxkit/init, to the `init:` of its template", problem)
	}
}

func initProblem(tree *initramfs.Tree) string {
	init, found := tree.Find("init")
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

// checkKernel checks the vmlinuz of the initramfs, and that the modules there are
// those of its release, because a kernel loads no others.
func (v *verifier) checkKernel(ctx context.Context, s *System, name string, tree *initramfs.Tree) error {
	if !v.isFile(name) {
		if !v.listing.known(name) { // otherwise it is reported already
			v.wrong(name, "it is not next to %s; machines ask for both", s.Initramfs)
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

// checkImages checks that every embedded image is complete, and that those in the
// manifest are embedded.
func (v *verifier) checkImages(ctx context.Context, s *System, existing *remaster.Existing) error {
	store, err := existing.Store()
	if err != nil {
		s.Damaged = true
		return v.take(ctx, s.Initramfs, err)
	}
	recorded := v.listing.embedded(s.Initramfs)
	if store == nil {
		if len(recorded) > 0 {
			v.wrong(s.Initramfs, "it has no embedded images, but %s lists %d; build it again", artifact.ManifestFile, len(recorded))
		}
		return nil
	}
	s.store = store
	for _, image := range store.Images() {
		s.Images = append(s.Images, Image{image.ID.String(), slices.Concat(image.Names, image.Digests), image.Size})
	}
	return v.during(v.start(0, "verify the images in %s", s.Initramfs), func() error {
		v.checkRecorded(s, recorded)
		return v.take(ctx, s.Initramfs, store.Verify(ctx))
	})
}

// embedded returns the images of the initramfs that the manifest lists.
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
				v.wrong(s.Initramfs, "the image %s, which %s lists, is not embedded (embedded: %s)", name, artifact.ManifestFile, s.onBoard())
			case id.String() != r.ID:
				v.wrong(s.Initramfs, "the image %s is %s, but %s lists %s; build it again", name, id, artifact.ManifestFile, r.ID)
			}
		}
	}
}

// lookup reports whether a container's image is embedded under the name.
func (s *System) lookup(name string) (bool, error) {
	if s.store == nil {
		_, err := embed.Name(name)
		return false, err
	}
	_, found, err := s.store.Lookup(name)
	return found, err
}

// isHookOS reports whether an initramfs is one of a HookOS. That of another LinuxKit
// document has its kernel's command line next to it.
func (v *verifier) isHookOS(name string) bool {
	dir, base := filepath.Split(name)
	return !v.isFile(dir + artifact.CmdlinePrefix + strings.TrimPrefix(base, initramfsPrefix))
}

// onBoard returns the names of the embedded images, separated by commas. A digest
// counts only for an image that has no other name.
func (s *System) onBoard() string {
	var names []string
	for _, image := range s.Images {
		tagged := slices.DeleteFunc(slices.Clone(image.Names), func(name string) bool { return strings.Contains(name, "@") })
		if len(tagged) == 0 {
			tagged = image.Names[:min(1, len(image.Names))]
		}
		names = append(names, tagged...)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
