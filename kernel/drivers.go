package kernel

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/tarball"
	"hookbuild/kernel/container"
	"hookbuild/kernel/driver"
	"hookbuild/kernel/modules"
)

// compiled tells how a kernel was compiled here.
type compiled struct {
	target container.Target
	// drivers are the digests of the module sources in the kernel's name.
	drivers []string
	// again compiles a kernel that came from the shared cache, so that modules can
	// be built against it; nil if it was compiled here.
	again func(context.Context) (container.Target, error)
}

// openDrivers opens the module sources.
func (o OpenOptions) openDrivers(ctx context.Context) ([]*driver.Driver, error) {
	return driver.OpenAll(ctx, o.Drivers, driver.Options{Cache: o.Cache, Web: o.Web, Offline: o.Offline, Progress: o.Progress})
}

// addDrivers builds the modules of the drivers against the kernel, adds them and
// the firmware that the drivers carry, and writes the indexes. A module takes
// the place of the kernel's own of the same name. What was built before for the
// same kernel comes from the cache. A kernel image that was made with these drivers has
// all of that already. The image closes the drivers.
func (o OpenOptions) addDrivers(ctx context.Context, m *Image, drivers []*driver.Driver) (err error) {
	for _, d := range drivers {
		m.files = append(m.files, d) // their firmware is read later
	}
	if slices.Equal(m.drivers, digestsOf(drivers)) {
		for _, d := range drivers {
			progress.Notef(o.Progress, "%s has the modules of %s already", m, d)
		}
		return nil
	}
	against, err := m.against(ctx, drivers, o)
	if err != nil {
		return err
	}
	w := &workshop{o: o, against: against, symvers: map[string][]byte{}}
	if m.compiled != nil {
		w.prepare = m.compiled.again
	}
	defer func() { err = errors.Join(err, w.close()) }()
	w.key = digest.OfStrings("built modules v1", m.Digest, m.Release, o.Container.Recipe(), fmt.Sprint(o.Plan.Strip, o.Time.Unix()))
	before := m.Digest
	for _, d := range drivers {
		built, err := w.build(ctx, d)
		if err != nil {
			return err
		}
		m.files = append(m.files, built)
		if err := m.addBuilt(ctx, built, d, w, o.Progress); err != nil {
			return fmt.Errorf("adding the modules of %s: %w", d, err)
		}
		before = digest.OfStrings("with modules v1", before, d.Digest)
	}
	m.Digest = "sha256:" + digest.OfStrings(before, w.key)
	m.drivers, m.choice = digestsOf(drivers), "" // nothing was chosen of these modules
	return m.finishDrivers(ctx, drivers, o)
}

func digestsOf(drivers []*driver.Driver) []string {
	var all []string
	for _, d := range drivers {
		all = append(all, d.Digest)
	}
	return all
}

// against returns the kernel as package container needs it.
func (m *Image) against(ctx context.Context, drivers []*driver.Driver, o OpenOptions) (container.Against, error) {
	k := container.Against{Target: container.Target{Arch: m.Arch}, Release: m.Release}
	if m.compiled != nil {
		if !slices.Equal(digestsOf(drivers), m.compiled.drivers) {
			return k, fault.Failedf("building modules for %s: a module source changed while the kernel was compiled; run this again", m)
		}
		k.Target = m.compiled.target
		return k, nil
	}
	headers, err := m.openHeaders(ctx, o.Options)
	if err != nil {
		return k, err
	}
	if _, ok := headers.Lookup("usr/src/linux-headers-" + m.Release); !ok {
		return k, invalid("building the module source %q for %s: the kernel comes without its headers (usr/src/linux-headers-%s), against which modules are built; use --kernel build, which compiles the kernel and the modules together, or a kernel with headers: a distribution's packages (deb:linux-image.deb,linux-headers.deb,...) or an image with kernel-dev.tar",
			drivers[0].Origin, m, m.Release)
	}
	k.Headers, k.HeadersDigest = headers, digest.OfStrings("headers", m.Digest)
	return k, nil
}

// workshop builds modules for one kernel.
type workshop struct {
	o       OpenOptions
	against container.Against
	builder *container.Builder
	// key identifies the kernel and all that was built for it so far.
	key string
	// symvers has the symbols that the built modules export, by driver.
	symvers map[string][]byte
	// prepare compiles the kernel before the first module is built; nil if that is
	// done.
	prepare func(context.Context) (container.Target, error)
}

func (w *workshop) close() error {
	if w.builder == nil {
		return nil
	}
	return w.builder.Close()
}

// build returns a tar archive of the driver's modules, from the cache if they
// were built before. A kernel from a directory has no name for its source, whose
// headers may have changed, so its modules are built each time.
func (w *workshop) build(ctx context.Context, d *driver.Driver) (*cache.File, error) {
	t := w.against.Target
	w.key = digest.OfStrings(w.key, t.Source.SHA256, t.PatchesID(), d.Digest)
	fill := func(out io.Writer) error { return w.fill(ctx, d, out) }
	if t.Source.Dir != "" {
		return w.o.Cache.Scratch(ctx, fill)
	}
	built, _, err := w.o.Cache.Derived(ctx, "modules", w.key, fill)
	return built, err
}

// fill builds the driver's modules and writes them as a tar archive.
func (w *workshop) fill(ctx context.Context, d *driver.Driver, out io.Writer) (err error) {
	if w.prepare != nil {
		if w.against.Target, err = w.prepare(ctx); err != nil {
			return err
		}
		w.prepare = nil
	}
	if w.builder == nil {
		if w.builder, err = container.Open(ctx, w.o.Container); err != nil {
			return err
		}
	}
	archive := tar.NewWriter(out)
	options := container.CompileOptions{Strip: w.o.Plan.Strip, Time: w.o.Time}
	err = w.builder.BuildModule(ctx, w.against, d, options, w.symvers, func(name string, size int64, content io.Reader) error {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: initramfs.Epoch()}); err != nil {
			return err
		}
		_, err := io.Copy(archive, content)
		return err
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

// addBuilt adds a driver's modules. It removes the kernel's own of the same
// names.
func (m *Image) addBuilt(ctx context.Context, built *cache.File, d *driver.Driver, w *workshop, sink progress.Sink) error {
	entries, err := tarball.Entries(built, built.Size(), "the modules of "+d.Name)
	if err != nil {
		return err
	}
	own := map[string][]string{}
	for e := range m.Modules.All() {
		if modules.IsModule(e.Path) {
			own[modules.NameOf(e.Path)] = append(own[modules.NameOf(e.Path)], e.Path)
		}
	}
	for _, e := range entries {
		if e.Path == container.Symvers {
			text, err := readSmall(ctx, e, mostConfig)
			if w.symvers[d.Name] = text; err != nil {
				return err
			}
			continue
		}
		for _, old := range own[modules.NameOf(e.Path)] {
			m.Modules.Remove(old)
			progress.Notef(sink, "%s of %s takes the place of the kernel's own %s", e.Path, d, strings.TrimPrefix(old, m.modulesDir()+"/"))
		}
		e.Path = path.Join(m.modulesDir(), driverDir(d), e.Path)
		if err := m.Modules.Add(e); err != nil {
			return err
		}
	}
	return nil
}

// driverDir is where a driver's modules are, below the modules' directory.
// modprobe and depmod prefer the modules there.
func driverDir(d *driver.Driver) string { return "updates/" + d.Name }

// finishDrivers checks the added modules, adds their firmware, tells what they
// mean for the kernel, and writes the indexes of all modules.
func (m *Image) finishDrivers(ctx context.Context, drivers []*driver.Driver, o OpenOptions) error {
	set, err := modules.Read(ctx, m.Modules, m.Release, o.Jobs)
	if err != nil {
		return err
	}
	for _, d := range drivers {
		for _, module := range set.Modules {
			if path.Dir(module.Path) != driverDir(d) {
				continue
			}
			if release, _, _ := strings.Cut(module.Vermagic, " "); release != m.Release {
				return invalid("adding the module %s of %s: it was built for Linux %q, and the kernel is %s; its Makefile chooses another kernel than the one that uname -r and /lib/modules name", module.Name, d, release, m.Release)
			}
			if err := m.addFirmwareOf(module, d); err != nil {
				return err
			}
			m.describe(module, d, slices.Contains(set.Builtin, module.Name), o.Progress)
		}
	}
	return set.WriteIndexes(m.Modules)
}

// describe reports an added module with its license, and what may keep it from
// being used.
func (m *Image) describe(module *modules.Module, d *driver.Driver, builtin bool, sink progress.Sink) {
	name := strings.TrimSpace(module.Name + " " + module.Version)
	license := module.License
	switch {
	case license == "":
		progress.Warnf(sink, "the module %s of %s states no license; it taints the kernel as proprietary and as built outside its source (P, O), and it can use no symbol that is exported for GPL modules only", name, d)
	case !modules.IsFree(license):
		progress.Warnf(sink, "the module %s of %s has the license %q; it taints the kernel as proprietary and as built outside its source (P, O), and it can use no symbol that is exported for GPL modules only", name, d, license)
	default:
		progress.Notef(sink, "the module %s of %s has the license %q; it taints the kernel as built outside its source (O)", name, d, license)
	}
	if builtin {
		progress.Warnf(sink, "the kernel has %s built in, so the module of %s cannot take its place; build the kernel with that option as a module (--set CONFIG_X=m)", module.Name, d)
	}
}

// addFirmwareOf adds the firmware that the module requests and its source
// carries. It goes where the kernel looks first, so that it is preferred to the
// firmware of the root file system.
func (m *Image) addFirmwareOf(module *modules.Module, d *driver.Driver) error {
	for _, wanted := range module.Firmware {
		e, ok := d.Firmware(wanted)
		if !ok {
			continue
		}
		e.Path = path.Join(modules.Updates, wanted)
		e.Mode, e.UID, e.GID, e.Origin = 0o644, 0, 0, d.String()
		if err := m.Modules.Add(e); err != nil {
			return fault.Mark(err, fault.Invalid)
		}
	}
	return nil
}
