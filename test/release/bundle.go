package release

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/build"
	"hookbuild/build/onboard"
	"hookbuild/build/remaster"
	"hookbuild/bundles"
	"hookbuild/internal/atomicfile"
	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
)

const (
	// bootsCommit is the commit of tinkerbell/tinkerbell in the tag of boots, and
	// hookTag the commit of HookOS.
	bootsCommit = "58b84f7d2c1a49e6b7d0c3f5a8e1b2d4c6f70819"
	hookTag     = "47a9d42f0b1c2d3e4f5061728394a5b6c7d8e9f0"
)

// actions maps the keys in a bundle to the images.
func actions() [][2]string {
	return [][2]string{
		{"cexec", "cexec"}, {"imageToDisk", "image2disk"}, {"kexec", "kexec"},
		{"ociToDisk", "oci2disk"}, {"reboot", "reboot"}, {"writeFile", "writefile"},
	}
}

// reference is an image's name in the bundle of a release, without its registry.
func reference(r Release, image string) string {
	repository, tag := "tinkerbell/actions/"+image, "c1f643b34c0740a67701a6aea5e0a8f69840daed"
	switch {
	case image == tinkWorker:
		repository, tag = "tinkerbell/tink/"+image, "v0.12.2"
	case image == boots:
		repository, tag = "tinkerbell/tinkerbell/tinkerbell", bootsCommit
		if r.Worker {
			repository, tag = "tinkerbell/boots", "v0.10.1"
		}
	case r.Hub:
		repository = "tinkerbell/hub/" + image
	}
	return fmt.Sprintf("eks-anywhere/%s:%s-eks-a-%d", repository, tag, r.Number)
}

// References lists the images of a release that are embedded and that
// "download images" saves, as the registry has them.
func (s *Service) References(r Release) []string {
	var all []string
	for _, a := range actions() {
		all = append(all, s.Images.Addr()+"/"+reference(r, a[1]))
	}
	if r.Worker {
		all = append(all, s.Images.Addr()+"/"+reference(r, tinkWorker))
	}
	return all
}

// publish writes the bundle manifest of a release and its HookOS.
func (s *Service) publish(ctx context.Context, r Release) error {
	for _, a := range actions() {
		if err := s.Images.tag(ctx, reference(r, a[1]), a[1]); err != nil {
			return err
		}
	}
	for _, image := range []string{tinkWorker, boots} {
		if err := s.Images.tag(ctx, reference(r, image), image); err != nil {
			return err
		}
	}
	if err := s.write(fmt.Sprintf("/releases/bundles/%d/manifest.yaml", r.Number), s.bundle(r)); err != nil {
		return err
	}
	for arch, name := range map[string]string{"amd64": "x86_64", "arm64": "aarch64"} {
		if err := s.hookOS(ctx, r, arch, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) bundle(r Release) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Bundles\nmetadata:\n  creationTimestamp: \"2026-01-01T00:00:00Z\"\n  name: bundles-%d\n", r.Number)
	fmt.Fprintf(&b, "spec:\n  cliMaxVersion: %[1]s\n  cliMinVersion: %[1]s\n  number: %d\n  versionsBundles:\n", r.Version, r.Number)
	for _, kube := range []string{"1.30", "1.31"} {
		fmt.Fprintf(&b, "  - kubeVersion: %q\n    endOfStandardSupport: \"2027-12-31\"\n    tinkerbell:\n      version: v0.6.0\n      tinkerbellStack:\n        actions:\n", kube)
		for _, a := range actions() {
			s.entry(&b, 10, a[0], r, a[1])
		}
		s.entry(&b, 8, "boots", r, boots)
		b.WriteString("        hook:\n")
		for _, part := range []string{"initramfs", "vmlinuz"} {
			fmt.Fprintf(&b, "          %s:\n", part)
			for key, arch := range map[string]string{"amd": "x86_64", "arm": "aarch64"} {
				name := part + "-" + arch
				fmt.Fprintf(&b, "            %s:\n              description: HookOS component\n              name: %s\n              uri: %s\n", key, name, s.HookURL(r, name))
			}
		}
		if r.Worker {
			b.WriteString("        tink:\n")
			s.entry(&b, 10, "tinkWorker", r, tinkWorker)
		}
	}
	b.WriteString("status: {}\n")
	return b.String()
}

func (s *Service) entry(b *strings.Builder, indent int, key string, r Release, image string) {
	in := strings.Repeat(" ", indent)
	fmt.Fprintf(b, "%[1]s%[2]s:\n%[1]s  arch:\n%[1]s  - amd64\n%[1]s  - arm64\n%[1]s  description: Container image for %[3]s image\n%[1]s  imageDigest: %[4]s\n%[1]s  name: %[3]s\n%[1]s  os: linux\n%[1]s  uri: %[5]s/%[6]s\n",
		in, key, image, s.Images.Digest(image), s.Images.Addr(), reference(r, image))
}

// hookOS writes the initramfs and the vmlinuz of a release.
func (s *Service) hookOS(ctx context.Context, r Release, arch, name string) error {
	if err := s.write(hookPath(r, "vmlinuz-"+name), "not a kernel\n"); err != nil {
		return err
	}
	work, err := os.MkdirTemp(s.dir, "making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	base := filepath.Join(work, "base")
	if err := writeBase(ctx, base); err != nil {
		return err
	}
	store, err := cache.Open(filepath.Join(work, "cache"), nil)
	if err != nil {
		return err
	}
	worker := agent
	if r.Worker {
		worker = tinkWorker
	}
	b := build.Builder{Cache: store, Client: oci.NewClient(oci.Options{Cache: store}), Jobs: 1}
	_, err = b.Editor().Embed(ctx, remaster.Request{
		Initramfs: base,
		Wanted: onboard.Wanted{
			DockerArch: arch, Segment: initramfs.SegmentOptions{Compression: initramfs.Gzip},
			Embed: &onboard.Embed{List: bundles.List{{Source: s.Images.reference(worker), Name: bundles.Worker, RemoveSource: true}}},
		},
	}, atomicfile.Target{Path: s.File(hookPath(r, "initramfs-"+name))})
	return err
}

// writeBase writes an initramfs of one file.
func writeBase(ctx context.Context, path string) error {
	var tree initramfs.Tree
	if err := tree.Add(initramfs.BytesFile("init", []byte("#!/bin/sh\n"), initramfs.Epoch())); err != nil {
		return err
	}
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		return initramfs.WriteSegment(ctx, w, &tree, initramfs.SegmentOptions{Compression: initramfs.Gzip})
	})
}

// hashOf is the digest of an index.
func hashOf(index v1.ImageIndex) (string, error) {
	h, err := index.Digest()
	return h.String(), err
}
