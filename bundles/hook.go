package bundles

import (
	"fmt"

	"hookbuild/internal/fault"
)

// hookFiles is the HookOS that a release publishes, for one architecture.
type hookFiles struct {
	// Vmlinuz, Initramfs and ISO are the published files. ISO has an empty URL
	// in releases before v0.22.0.
	Vmlinuz, Initramfs, ISO File
	// Bootkit, Docker and Kernel are the images that it was built from. They have
	// no names at boot.
	Bootkit, Docker, Kernel Image
}

// File is a file on a web server.
type File struct {
	URL string
	// SHA256 and SHA512 are hexadecimal. Published bundles have neither for HookOS
	// files, so only HTTPS protects those.
	SHA256, SHA512 string
}

// hookFiles returns the published HookOS for arch ("amd64" or "arm64"). KubeVersion is
// needed only if the bundle's parts differ, as in [Options].
func (b *Bundle) hookFiles(arch, kubeVersion string) (*hookFiles, error) {
	h, err := b.hook(arch, kubeVersion)
	if err != nil {
		return nil, fault.Invalidf("looking for the HookOS of %s: %w", b, err)
	}
	return h, nil
}

func (b *Bundle) hook(arch, kubeVersion string) (*hookFiles, error) {
	s, err := b.stack(kubeVersion)
	if err != nil {
		return nil, err
	}
	h := &hookFiles{Vmlinuz: s.Hook.Vmlinuz.file(arch), Initramfs: s.Hook.Initramfs.file(arch), ISO: s.Hook.ISO.file(arch)}
	if h.Vmlinuz.URL == "" || h.Initramfs.URL == "" {
		return nil, fmt.Errorf("it names no vmlinuz and initramfs for %q; choose amd64 or arm64, and use the complete manifest of the release", arch)
	}
	for _, part := range []struct {
		key  string
		from artifact
		to   *Image
	}{
		{"hook.bootkit", s.Hook.Bootkit, &h.Bootkit},
		{"hook.docker", s.Hook.Docker, &h.Docker},
		{"hook.kernel", s.Hook.Kernel, &h.Kernel},
	} {
		if part.from.URI == "" {
			continue
		}
		if *part.to, err = part.from.image(part.key); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (a byArch) file(arch string) File {
	var f artifact
	switch arch {
	case "amd64":
		f = a.AMD
	case "arm64":
		f = a.ARM
	}
	return File{URL: f.URI, SHA256: f.SHA256, SHA512: f.SHA512}
}
