package linuxkit

import "slices"

// Merge merges the documents into one, as the linuxkit tool does: the kernel
// settings of a later document override those of earlier ones, and lists are
// appended in order. The documents do not change.
func Merge(docs ...*Document) (*Document, error) {
	merged := &Document{}
	for _, d := range docs {
		merged.Kernel.add(d.Kernel)
		merged.Init = slices.Concat(merged.Init, d.Init)
		merged.Onboot = slices.Concat(merged.Onboot, d.Onboot)
		merged.Onshutdown = slices.Concat(merged.Onshutdown, d.Onshutdown)
		merged.Services = slices.Concat(merged.Services, d.Services)
		merged.Files = slices.Concat(merged.Files, d.Files)
		merged.Volumes = slices.Concat(merged.Volumes, d.Volumes)
	}
	if err := merged.check(); err != nil {
		return nil, err
	}
	return merged, nil
}

// add overrides k with the values that other sets.
func (k *KernelConfig) add(other KernelConfig) {
	if other.Image != "" {
		k.Image, k.Line, k.from = other.Image, other.Line, other.from
	}
	if other.Cmdline != "" {
		k.Cmdline = other.Cmdline
	}
	if other.Binary != "" {
		k.Binary = other.Binary
	}
	if other.Tar != nil {
		k.Tar = other.Tar
	}
	if other.UCode != nil {
		k.UCode = other.UCode
	}
}
