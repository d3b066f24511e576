package survey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"hookbuild/embed"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/words"
	"hookbuild/kernel/devices"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/modules"
)

// Diff is what changed from one HookOS to another.
type Diff struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Facts are the single values that differ: the release, sizes, the RAM needed.
	Facts    []Fact           `json:"facts"`
	Options  []kconfig.Change `json:"options"`
	Modules  Names            `json:"modules"`
	Drivers  []DriverChange   `json:"drivers"`
	Firmware Names            `json:"firmware"`
	Files    Names            `json:"files"`
	Images   []ImageChange    `json:"images"`
	// Store are other files of the images' store that differ, such as the names of
	// the layers' directories. They are compared only if no image and no layout differs.
	Store Names `json:"store"`
	// Unknown lists what could not be compared, and why.
	Unknown []string `json:"unknown,omitempty"`
}

// Fact is a value that differs.
type Fact struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// Names are the names of what was added, removed and changed, sorted.
type Names struct {
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	Changed []string `json:"changed,omitempty"`
}

// Len returns the number of names.
func (n Names) Len() int { return len(n.Added) + len(n.Removed) + len(n.Changed) }

// DriverChange is a driver that drives more or fewer devices than before.
type DriverChange struct {
	Module string `json:"module"`
	// Gained and Lost are devices, in the format of [devices.Claims].
	Gained []string `json:"gained,omitempty"`
	Lost   []string `json:"lost,omitempty"`
	// Now is the new state of the driver: "built in", "module" or "gone".
	Now string `json:"now"`
}

// ImageChange is an image name, by tag or by digest, that was added, was removed or
// means another image.
type ImageChange struct {
	Name string `json:"name"`
	Old  string `json:"old,omitempty"` // the ID
	New  string `json:"new,omitempty"`
	// Layers compares the layers of the old and the new image. It is nil for a name
	// that was added or removed.
	Layers *LayerChange `json:"layers,omitempty"`
}

// LayerChange compares the layers of two images. If none was added or removed, only
// the images' configurations differ.
type LayerChange struct {
	Kept int `json:"kept"`
	// Added and Removed are chain IDs.
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
}

// String describes the change in one line.
func (l LayerChange) String() string {
	if len(l.Added)+len(l.Removed) == 0 {
		return "the same " + words.Count(l.Kept, "layer") + ", another configuration"
	}
	return fmt.Sprintf("layers: %d the same, %d added, %d removed", l.Kept, len(l.Added), len(l.Removed))
}

// Empty reports whether nothing differs. The page's template calls it.
func (d *Diff) Empty() bool {
	return len(d.Facts)+len(d.Options)+d.Modules.Len()+len(d.Drivers)+d.Firmware.Len()+d.Files.Len()+len(d.Images)+d.Store.Len() == 0
}

// Compare returns what changed from a to b.
func Compare(ctx context.Context, a, b *System) (*Diff, error) {
	d := &Diff{From: a.Name, To: b.Name}
	d.compareFacts(a, b)
	d.compareOptions(a, b)
	d.compareDrivers(a, b)
	if a.HasTree && b.HasTree {
		if err := d.compareFiles(ctx, a.Tree, b.Tree); err != nil {
			return nil, err
		}
		if err := d.compareModules(ctx, a.Tree, b.Tree); err != nil {
			return nil, err
		}
		d.compareImages(a, b)
		if len(d.Images) == 0 && a.Layout == b.Layout {
			if err := d.compareStore(ctx, a.Tree, b.Tree); err != nil {
				return nil, err
			}
		}
	} else {
		d.unknown("files, firmware and images: name the initramfs of both")
	}
	return d, nil
}

func (d *Diff) unknown(what string) {
	d.Unknown = append(d.Unknown, what)
}

func (d *Diff) fact(name, from, to string) {
	if from != to {
		d.Facts = append(d.Facts, Fact{name, from, to})
	}
}

func (d *Diff) compareFacts(a, b *System) {
	if a.Kernel != nil && b.Kernel != nil {
		d.fact("kernel", a.Kernel.Release, b.Kernel.Release)
		d.fact("architecture", a.Kernel.Arch, b.Kernel.Arch)
		d.fact("kernel format", a.Kernel.Format+" ("+a.Kernel.Compression+")", b.Kernel.Format+" ("+b.Kernel.Compression+")")
		d.fact("built as", a.Kernel.Banner, b.Kernel.Banner)
		d.fact("kernel size", words.Bytes(a.Kernel.Size), words.Bytes(b.Kernel.Size))
		if a.Kernel.Digest != b.Kernel.Digest && len(d.Facts) == 0 {
			d.fact("kernel file", a.Kernel.Digest, b.Kernel.Digest)
		}
	}
	if a.HasTree && b.HasTree {
		d.fact("initramfs", words.Bytes(a.Memory.Compressed), words.Bytes(b.Memory.Compressed))
		d.fact("in RAM", words.Bytes(a.Memory.Unpacked), words.Bytes(b.Memory.Unpacked))
		d.fact("RAM to boot", words.Bytes(a.Memory.Least), words.Bytes(b.Memory.Least))
	}
	if a.Layout != "" && b.Layout != "" {
		d.fact("image layout", string(a.Layout), string(b.Layout))
	}
}

func (d *Diff) compareOptions(a, b *System) {
	switch {
	case a.Features == nil || b.Features == nil:
		d.unknown("kernel options: name the vmlinuz of both")
	case a.Features.Config == nil || b.Features.Config == nil:
		d.unknown("kernel options: a kernel carries no configuration (CONFIG_IKCONFIG)")
	default:
		d.Options = kconfig.Diff(a.Features.Config, b.Features.Config)
	}
}

func (d *Diff) compareDrivers(a, b *System) {
	if a.Catalog == nil || b.Catalog == nil {
		d.unknown("modules and drivers: name the vmlinuz and the initramfs of both")
		return
	}
	names := func(s *System) []string {
		var list []string
		for _, m := range s.Catalog.Modules {
			list = append(list, m.Name)
		}
		return list
	}
	d.Modules.Added, d.Modules.Removed = gainedLost(names(a), names(b))
	old, now := claimsByModule(a.Drivers), claimsByModule(b.Drivers)
	all := maps.Clone(old)
	maps.Copy(all, now)
	for _, module := range slices.Sorted(maps.Keys(all)) {
		c := DriverChange{Module: module, Now: "gone"}
		c.Gained, c.Lost = gainedLost(old[module].Devices, now[module].Devices)
		if n, has := now[module]; has {
			c.Now = "module"
			if n.BuiltIn {
				c.Now = "built in"
			}
		}
		if len(c.Gained)+len(c.Lost) > 0 {
			d.Drivers = append(d.Drivers, c)
		}
	}
}

func claimsByModule(list []devices.Claims) map[string]devices.Claims {
	m := map[string]devices.Claims{}
	for _, c := range list {
		m[c.Module] = c
	}
	return m
}

// gainedLost returns the elements that are only in now and only in old, sorted.
func gainedLost(old, now []string) (gained, lost []string) {
	before, after := map[string]bool{}, map[string]bool{}
	for _, n := range old {
		before[n] = true
	}
	for _, n := range now {
		after[n] = true
	}
	for n := range after {
		if !before[n] {
			gained = append(gained, n)
		}
	}
	for n := range before {
		if !after[n] {
			lost = append(lost, n)
		}
	}
	slices.Sort(gained)
	slices.Sort(lost)
	return gained, lost
}

// compareModules lists the modules whose content differs. The path of a module has the
// kernel's release, so those of another release are not compared.
func (d *Diff) compareModules(ctx context.Context, a, b *initramfs.Tree) error {
	for e := range b.All() {
		old, had := a.Lookup(e.Path)
		if !had || partOf(e.Path) != ofModules || !modules.IsModule(e.Path) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		same, err := equal(old, e)
		if err != nil {
			return fmt.Errorf("comparing %q: %w", e.Path, err)
		}
		if !same {
			d.Modules.Changed = append(d.Modules.Changed, modules.NameOf(e.Path))
		}
	}
	slices.Sort(d.Modules.Changed)
	return nil
}

// compareFiles compares the trees without the modules, which compareModules compares,
// and without the store, which compareImages and compareStore compare.
func (d *Diff) compareFiles(ctx context.Context, a, b *initramfs.Tree) error {
	return compareTrees(ctx, a, b, func(name string) *Names {
		switch partOf(name) {
		case ofSystem, ofContainers:
			return &d.Files
		case ofFirmware:
			return &d.Firmware
		}
		return nil
	})
}

// compareStore compares the files of the stores, without the layers' own in the
// directory layout: their directories have random names in a store that dockerd made.
func (d *Diff) compareStore(ctx context.Context, a, b *initramfs.Tree) error {
	return compareTrees(ctx, a, b, func(name string) *Names {
		if partOf(name) != ofImages || strings.HasPrefix(name, embed.StorePath+"/overlay2/") {
			return nil
		}
		return &d.Store
	})
}

// compareTrees adds the files that differ to the names that list returns for their
// paths; nil means that a path is not compared.
func compareTrees(ctx context.Context, a, b *initramfs.Tree, list func(name string) *Names) error {
	fullOfB, fullOfA := filledDirs(b), filledDirs(a)
	for e := range b.All() {
		names := list(e.Path)
		if names == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		old, had := a.Lookup(e.Path)
		if !had && fullOfB[e.Path] {
			continue // its files are listed
		}
		if !had {
			names.Added = append(names.Added, e.Path)
			continue
		}
		same, err := equal(old, e)
		if err != nil {
			return fmt.Errorf("comparing %q: %w", e.Path, err)
		}
		if !same {
			names.Changed = append(names.Changed, e.Path)
		}
	}
	for e := range a.All() {
		if names := list(e.Path); names != nil && !fullOfA[e.Path] {
			if _, has := b.Lookup(e.Path); !has {
				names.Removed = append(names.Removed, e.Path)
			}
		}
	}
	return nil
}

// filledDirs returns the directories that are not empty.
func filledDirs(t *initramfs.Tree) map[string]bool {
	filled := map[string]bool{}
	for e := range t.All() {
		filled[path.Dir(e.Path)] = true
	}
	return filled
}

// equal reports whether two entries are the same for a booted system. It ignores
// times.
func equal(a, b initramfs.Entry) (bool, error) {
	if a.Type != b.Type || a.Mode != b.Mode || a.UID != b.UID || a.GID != b.GID || a.Target != b.Target ||
		a.Size != b.Size || a.Major != b.Major || a.Minor != b.Minor || !maps.Equal(a.Xattrs, b.Xattrs) {
		return false, nil
	}
	if a.Type != initramfs.Regular || a.Size == 0 {
		return true, nil
	}
	return sameContent(a, b)
}

func sameContent(a, b initramfs.Entry) (same bool, err error) {
	x, err := a.Open()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	y, err := b.Open()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, y.Close()) }()
	one, other := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(x, one)
		m, errOther := io.ReadFull(y, other)
		if n != m || !bytes.Equal(one[:n], other[:m]) {
			return false, nil
		}
		for _, err := range []error{err, errOther} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, err
			}
		}
		if err != nil {
			return true, nil
		}
	}
}

// compareImages compares the images by name, tags and digests, or by ID if an image
// has no name.
func (d *Diff) compareImages(a, b *System) {
	byName := func(images []Image) map[string]Image {
		m := map[string]Image{}
		for _, image := range images {
			names := slices.Concat(image.Names, image.Digests)
			if len(names) == 0 {
				names = []string{image.ID}
			}
			for _, name := range names {
				m[name] = image
			}
		}
		return m
	}
	old, now := byName(a.Images), byName(b.Images)
	all := maps.Clone(old)
	maps.Copy(all, now)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, is := old[name], now[name]
		if was.ID == is.ID {
			continue
		}
		c := ImageChange{Name: name, Old: was.ID, New: is.ID}
		if was.ID != "" && is.ID != "" {
			c.Layers = compareLayers(was.Layers, is.Layers)
		}
		d.Images = append(d.Images, c)
	}
}

func compareLayers(old, now []string) *LayerChange {
	c := &LayerChange{}
	c.Added, c.Removed = gainedLost(old, now)
	c.Kept = len(now) - len(c.Added)
	return c
}
