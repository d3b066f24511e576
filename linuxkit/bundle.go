package linuxkit

import (
	"context"
	"encoding/json"
	"fmt"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// addContainers lays out onboot, onshutdown and services: for each container a
// directory with what LinuxKit's init and runc need. The file system of an
// image is in the directory of the first container that runs it.
func (l *layout) addContainers(doc *Document, images map[string]*Image) error {
	ids := doc.containerIDs()
	roots := map[string]string{}
	for _, s := range doc.sections() {
		for i, c := range s.containers {
			long := ExpandReference(c.Image)
			part := l.begin(Part{Where: fmt.Sprintf("%s[%d]", s.name, i), Name: long, Line: c.Line, File: c.from, Digest: images[long].Digest})
			if err := part.addContainer(doc, s.directory(i), c, images[long], ids, roots); err != nil {
				return fmt.Errorf("container %q of %s (%s, image %q): %w", c.Name, s.name, place(c.Line, c.from), c.Image, err)
			}
		}
	}
	return nil
}

func (s *source) addContainer(doc *Document, dir string, c *Container, img *Image, ids map[string]uint32, roots map[string]string) error {
	with, err := doc.withVolumes(c)
	if err != nil {
		return fault.Mark(err, fault.Invalid)
	}
	spec, runtime, err := containerSpec(with, img.Config, ids)
	if err != nil {
		return fault.Mark(err, fault.Invalid)
	}
	if err := s.directory(dir); err != nil {
		return err
	}
	readonly := spec.Root.Readonly
	root, err := s.addRoot(dir, ExpandReference(c.Image), img.Tree, readonly, roots)
	if err != nil {
		return err
	}
	if err := s.json(dir+"/config.json", spec); err != nil {
		return err
	}
	runtime.Mounts = append(rootMounts(dir, root, readonly), runtime.Mounts...)
	return s.json(dir+"/runtime.json", runtime)
}

// addRoot adds the image's file system, unless another container already has
// it, and the empty directories on which the root is mounted. It returns the
// directory that has the file system.
func (s *source) addRoot(dir, ref string, img *initramfs.Tree, readonly bool, roots map[string]string) (string, error) {
	if _, ok := roots[ref]; !ok {
		roots[ref] = dir + "/lower"
		if readonly {
			roots[ref] = dir + "/rootfs"
		}
		if err := s.directory(roots[ref]); err != nil {
			return "", err
		}
		if err := s.addImage(roots[ref], img, false); err != nil {
			return "", err
		}
	}
	if !readonly {
		if err := s.directory(dir + "/tmp"); err != nil {
			return "", err
		}
	}
	return roots[ref], s.directory(dir + "/rootfs")
}

// rootMounts returns the mounts of a container's root file system: an overlay
// whose changes are in memory, or a read-only one that is bind-mounted to make
// it a mount point.
func rootMounts(dir, root string, readonly bool) []specs.Mount {
	rootfs := "/" + dir + "/rootfs"
	if readonly {
		return []specs.Mount{{Source: "/" + root, Destination: rootfs, Options: []string{"bind"}}}
	}
	tmp := "/" + dir + "/tmp"
	return []specs.Mount{
		{Type: "tmpfs", Source: "tmpfs", Destination: tmp},
		// nothing else may see the layers
		{Destination: tmp, Options: []string{"remount", "private"}},
		{Type: "overlay", Source: "overlay", Destination: rootfs, Options: []string{
			"lowerdir=/" + root, "upperdir=" + tmp + "/upper", "workdir=" + tmp + "/work",
		}},
	}
}

func (s *source) json(name string, value any) error {
	content, err := json.MarshalIndent(value, "", "    ")
	if err != nil {
		return fmt.Errorf("writing %q: %w", name, err)
	}
	return s.file(name, content)
}

// addVolumes adds each volume's image as lower, and the directories tmp and
// merged on which init mounts.
func (l *layout) addVolumes(ctx context.Context, doc *Document, o Options, images map[string]*Image) error {
	for i, v := range doc.Volumes {
		long := ""
		part := Part{Where: fmt.Sprintf("volumes[%d]", i), Name: v.Name, Line: v.Line, File: v.from}
		if v.Image != "" {
			long = ExpandReference(v.Image)
			part.Name = long
			if img, ok := images[long]; ok {
				part.Digest = img.Digest
			}
		}
		s := l.begin(part)
		for _, dir := range []string{"lower", "tmp", "merged"} {
			if err := s.directory(v.directory() + "/" + dir); err != nil {
				return err
			}
		}
		if err := s.addVolumeImage(ctx, v, long, o, images); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) addVolumeImage(ctx context.Context, v *Volume, long string, o Options, images map[string]*Image) error {
	lower := v.directory() + "/lower"
	switch {
	case v.Image == "":
		return nil
	case v.Format != "oci":
		return s.addImage(lower, images[long].Tree, true)
	}
	layouts, ok := o.Images.(LayoutSource)
	if !ok {
		return fault.Invalidf("volume %q (%s): the format oci needs a source of whole image indexes, which this one is not; use the format filesystem", v.Name, place(v.Line, v.from))
	}
	layout, err := layouts.Layout(ctx, long, v.Platforms)
	if err != nil {
		return fmt.Errorf("loading the image %q of volume %q (%s): %w", long, v.Name, place(v.Line, v.from), err)
	}
	return s.graft(lower, layout)
}
