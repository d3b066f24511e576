package linuxkit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// directory returns the volume's path in the root file system. Below it are
// lower (the image's files), tmp and merged (what containers see).
func (v *Volume) directory() string { return "containers/volumes/" + v.Name }

// withVolumes returns c with the names of volumes in binds and bind mounts
// replaced by their paths. Sources that begin with a slash are not volumes.
func (d *Document) withVolumes(c *Container) (*Container, error) {
	out := *c
	var err error
	if out.Binds, err = d.volumeBinds(c.Binds); err != nil {
		return nil, err
	}
	if out.BindsAdd, err = d.volumeBinds(c.BindsAdd); err != nil {
		return nil, err
	}
	out.Mounts = slices.Clone(c.Mounts)
	for i, m := range out.Mounts {
		if m.Type != "bind" || strings.HasPrefix(m.Source, "/") {
			continue
		}
		if out.Mounts[i], err = d.volumeMount(m); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

func (d *Document) volumeBinds(binds []string) ([]string, error) {
	out := slices.Clone(binds)
	for i, bind := range binds {
		source, rest, _ := strings.Cut(bind, ":")
		if strings.HasPrefix(source, "/") {
			continue
		}
		_, options, _ := strings.Cut(rest, ":")
		path, err := d.volumePath(source, strings.Split(options, ","))
		if err != nil {
			return nil, fmt.Errorf("bind %q: %w", bind, err)
		}
		out[i] = path + ":" + rest
	}
	return out, nil
}

func (d *Document) volumeMount(m specs.Mount) (specs.Mount, error) {
	path, err := d.volumePath(m.Source, m.Options)
	if err != nil {
		return m, fmt.Errorf("mount on %q: %w", m.Destination, err)
	}
	m.Source = path
	return m, nil
}

func (d *Document) volumePath(name string, options []string) (string, error) {
	i := slices.IndexFunc(d.Volumes, func(v *Volume) bool { return v.Name == name })
	if i < 0 {
		return "", fmt.Errorf("%q is neither an absolute path nor a volume of the document", name)
	}
	if d.Volumes[i].ReadOnly && (!slices.Contains(options, "ro") || slices.Contains(options, "rw")) {
		return "", fmt.Errorf("the volume %q is read-only, so the option \"ro\" is needed", name)
	}
	return "/" + d.Volumes[i].directory() + "/merged", nil
}
