package kernel

import (
	"context"
	"errors"

	"hookbuild/kernel/modules"
)

// Report describes a kernel.
type Report struct {
	Release string `json:"release"`
	Arch    string `json:"arch"`
	// Format and Compression are those of the kernel file.
	Format      string `json:"format"`
	Compression string `json:"compression"`
	// Banner is the start of /proc/version.
	Banner string `json:"banner,omitempty"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
	// Config is the source of the answers about options.
	Config   string    `json:"config"`
	Features []Feature `json:"features"`
	// Modules is the number of loadable modules, DTBs that of device trees.
	Modules int `json:"modules"`
	DTBs    int `json:"dtbs"`
}

// Report describes the kernel and counts its modules.
func (m *Image) Report(ctx context.Context) (*Report, error) {
	features, err := m.Features(ctx)
	if err != nil {
		return nil, err
	}
	banner, err := m.banner(ctx)
	if err != nil {
		return nil, err
	}
	r := &Report{
		Release: m.Release, Arch: m.Arch, Format: m.Format, Compression: m.Compression, Banner: banner,
		Size: m.Kernel.Size, Digest: m.Digest, Config: features.Origin, Features: features.summary(),
	}
	for e := range m.Modules.All() {
		if modules.IsModule(e.Path) {
			r.Modules++
		}
	}
	for e := range m.DTBs.All() {
		if e.Open != nil {
			r.DTBs++
		}
	}
	return r, nil
}

func (m *Image) banner(ctx context.Context) (_ string, err error) {
	image, content, err := m.Inspect()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	facts, err := image.Scan(ctx)
	if err != nil {
		return "", err
	}
	return facts.Banner, nil
}

// Catalog reads which hardware the kernel's modules drive.
func (m *Image) Catalog(ctx context.Context, jobs int) (*modules.Catalog, error) {
	return modules.ReadCatalog(ctx, m.Modules, m.Release, jobs)
}
