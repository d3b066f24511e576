package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/cache"
	"hookbuild/kernel"
	"hookbuild/kernel/flavor"
	"hookbuild/test/corpus"
	"hookbuild/test/lab"
)

// fleet is six flavors, three for each of two architectures, with a kernel image
// each. Own flavors of the checkout are the third.
type fleet struct {
	places []*place // by architecture
	// jobs are the builds, one for each flavor.
	jobs  []job
	moved *meter
	// cache is the repository of the shared cache, more an image that is added,
	// site a file with a setting that is changed.
	cache, more, site string
}

// job is the build of a flavor.
type job struct {
	place          *place
	flavor, kernel string
}

// state is how a fleet is built: on a machine for each flavor, with nothing there
// before, or on one for all.
type state struct {
	name string
	// one says that one machine builds all flavors; kept, that it is the one of
	// the state before, with its cache.
	one, kept bool
	// shared are the options of the shared cache, more others.
	shared, more []string
}

func (f *fleet) states() []state {
	from, to := []string{"--cache-from", f.cache}, []string{"--cache-to", f.cache}
	image, setting := []string{"--image", f.more + "=127.0.0.1/embedded/more"}, []string{"--site", f.site}
	return []state{
		{"six machines, empty", false, false, nil, nil},
		{"six machines, empty; all results pushed", false, false, to, nil},
		{"six machines, warm registry", false, false, from, nil},
		{"six machines, warm registry, one image more", false, false, from, image},
		{"six machines, warm registry, one setting changed", false, false, from, setting},
		{"one machine, empty", true, false, nil, nil},
		{"one machine, nothing changed", true, true, nil, nil},
		{"one machine, one image more", true, true, nil, image},
		{"one machine, one setting changed", true, true, nil, setting},
	}
}

// fleetOutcome is what building all flavors cost, and the bytes that were moved to
// and from registries.
type fleetOutcome struct {
	cost
	moved int64
}

// compareFleet builds the fleet in all states, and as build.sh does.
func compareFleet(ctx context.Context, b *bench) (string, error) {
	f, err := openFleet(ctx, b)
	if err != nil {
		return "", err
	}
	var old fleetOutcome
	for _, j := range f.jobs {
		one, err := f.oldWay(ctx, j)
		if err != nil {
			return "", err
		}
		old = old.then(one)
		b.say("  the old way, %s: %.2f s", j.flavor, one.wall.Seconds())
	}
	var s strings.Builder
	s.WriteString("| six flavors | wall | old | times | CPU | old | times | peak RSS | moved | old |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	machine, initramfs := "", map[string]string{}
	for _, st := range f.states() {
		var o fleetOutcome
		if o, machine, err = f.build(ctx, b, st, machine, initramfs); err != nil {
			return "", fmt.Errorf("%s: %w", st.name, err)
		}
		b.say("  %s: %.2f s", st.name, o.wall.Seconds())
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %s |\n", st.name, pair(seconds, o.wall, old.wall), pair(seconds, o.cpu, old.cpu),
			megabytes(o.peak), megabytes(o.moved), megabytes(old.moved))
	}
	return s.String(), nil
}

func (o fleetOutcome) then(next fleetOutcome) fleetOutcome {
	return fleetOutcome{o.cost.then(next.cost), o.moved + next.moved}
}

// build builds all flavors, one after the other. Results of the same options must
// be equal, wherever they come from: sums has them by options and flavor.
func (f *fleet) build(ctx context.Context, b *bench, st state, machine string, sums map[string]string) (all fleetOutcome, _ string, err error) {
	if !st.kept {
		machine = ""
	}
	for _, j := range f.jobs {
		if machine == "" || !st.one {
			if machine, err = b.sub("machine"); err != nil {
				return all, "", err
			}
		}
		out := filepath.Join(machine, "out-"+j.flavor)
		before := f.moved.bytes.Load()
		settle()
		var said strings.Builder
		c := j.command(filepath.Join(machine, "cache"), out, slices.Concat(st.shared, st.more))
		c.said = &said
		spent, err := c.run(ctx)
		if err == nil {
			err = st.check(said.String())
		}
		if err != nil {
			return all, "", err
		}
		all = all.then(fleetOutcome{spent, f.moved.bytes.Load() - before})
		if err := checkEqual(out, j, st, sums); err != nil {
			return all, "", err
		}
		if !st.one {
			if err := b.discard(machine); err != nil {
				return all, "", err
			}
		}
	}
	return all, machine, nil
}

// check returns an error if hookbuild's messages do not fit the state: a shared cache
// that fails costs only time, and would be measured without a word.
func (st state) check(said string) error {
	var want string
	switch {
	case len(st.shared) == 0:
		return nil
	case st.shared[0] == "--cache-to":
		want = "pushed "
	case len(st.more) == 0:
		want = "from the shared cache, 0 made here"
	default:
		want = "from the shared cache, "
	}
	if !strings.Contains(said, want) || strings.Contains(said, "going on without it") || strings.Contains(said, "pushing no more results") {
		return fmt.Errorf("the shared cache was not used: %s", tail(said))
	}
	return nil
}

// checkEqual compares a result with the earlier one of the same options.
func checkEqual(out string, j job, st state, sums map[string]string) error {
	text, err := os.ReadFile(filepath.Join(out, "hook/checksums.txt"))
	if err != nil {
		return err
	}
	sum, key := string(text), j.flavor+" "+strings.Join(st.more, " ")
	if before, ok := sums[key]; ok && before != sum {
		return fmt.Errorf("%s differs from the same build before", j.flavor)
	}
	sums[key] = sum
	return nil
}

// command returns the build of a flavor.
func (j job) command(cache, out string, more []string) command {
	args := append([]string{
		allCommand, j.flavor, "--hook-dir", j.place.checkout, "--kernel", "image:" + j.kernel,
		"--embed-from-bundle", "--bundle", j.place.bundle, "--out", out,
	}, more...)
	return j.place.command(cache, args...)
}

// oldWay builds a flavor as build.sh does.
func (f *fleet) oldWay(ctx context.Context, j job) (o fleetOutcome, err error) {
	before := f.moved.bytes.Load()
	costs, _, err := measureOldWay(ctx, j.place)
	if err != nil {
		return o, err
	}
	for i, s := range oldSteps() {
		if s.all {
			o.cost = o.cost.then(costs[i])
		}
	}
	o.moved = f.moved.bytes.Load() - before
	return o, nil
}

// openFleet makes the places, the kernel images and the shared cache.
func openFleet(ctx context.Context, b *bench) (*fleet, error) {
	b.arches = []string{"amd64", "arm64"}
	first, err := openPlace(ctx, b)
	if err != nil {
		return nil, err
	}
	f := &fleet{moved: b.moved}
	if f.cache, err = f.openCache(ctx, b); err != nil {
		return nil, err
	}
	if err := f.writeFlavors(b); err != nil {
		return nil, err
	}
	for _, arch := range b.arches {
		p, err := first.forArch(ctx, arch)
		if err != nil {
			return nil, err
		}
		f.places = append(f.places, p)
		for _, id := range []string{"hook-default-", "hook-latest-lts-", "site-"} {
			j := job{place: p, flavor: id + arch}
			if j.kernel, err = p.pushKernel(ctx, j.flavor); err != nil {
				return nil, err
			}
			f.jobs = append(f.jobs, j)
		}
	}
	f.site = filepath.Join(b.dir, "site.yaml")
	if err := os.WriteFile(f.site, []byte("motd: changed\n"), 0o600); err != nil {
		return nil, err
	}
	f.more, err = first.pushMore(ctx)
	return f, err
}

// openCache starts the registry of the shared cache, whose blobs are files.
func (f *fleet) openCache(ctx context.Context, b *bench) (string, error) {
	blobs, err := b.sub("cache-blobs")
	if err != nil {
		return "", err
	}
	addr, err := serveRegistry(ctx, b, blobs)
	return addr + "/fleet/cache", err
}

func (f *fleet) writeFlavors(b *bench) error {
	var text strings.Builder
	text.WriteString("flavors:\n")
	for _, arch := range b.arches {
		fmt.Fprintf(&text, "  - {id: site-%s, arch: %s, use-kernel: hook-latest-lts-%s}\n", arch, arch, arch)
	}
	return os.WriteFile(filepath.Join(b.checkout, filepath.FromSlash(flavor.File)), []byte(text.String()), 0o600)
}

// forArch returns the place with the kernel and the containers of an architecture.
func (p *place) forArch(ctx context.Context, arch string) (*place, error) {
	if arch == p.arch {
		return p, nil
	}
	l, err := lab.Open("")
	if err != nil {
		return nil, err
	}
	l.Log = p.say
	other := *p
	other.arch = arch
	if other.deb, err = l.Kernel(ctx, arch); err != nil {
		return nil, err
	}
	return &other, other.pushContainers(ctx, l)
}

// pushKernel makes a kernel image of the kernel's package for a flavor, and returns
// its reference. Each flavor's is another image.
func (p *place) pushKernel(ctx context.Context, id string) (_ string, err error) {
	dir, err := p.sub("kernel")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := cache.Open(filepath.Join(p.dir, "kernel-cache"), nil)
	if err != nil {
		return "", err
	}
	k, err := kernel.Open(ctx, "deb:"+p.deb, kernel.OpenOptions{Options: kernel.Options{Cache: c}})
	if err != nil {
		return "", err
	}
	image, err := k.Pack(ctx, kernel.PackOptions{Dir: dir, Labels: map[string]string{"flavor": id}})
	if err := errors.Join(err, k.Close()); err != nil {
		return "", err
	}
	return push(ctx, p.registry.Addr()+"/kernels/"+id+":1", image)
}

// pushMore makes an image of one more file than the first action, for each
// architecture, and returns its reference.
func (p *place) pushMore(ctx context.Context) (string, error) {
	from, err := name.ParseReference(p.registry.Reference(corpus.Names()[0], corpus.Actions))
	if err != nil {
		return "", err
	}
	index, err := remote.Index(from, remote.WithContext(ctx))
	if err != nil {
		return "", err
	}
	made := mutate.IndexMediaType(mutate.RemoveManifests(index, func(v1.Descriptor) bool { return true }), types.OCIImageIndex)
	for _, arch := range p.arches {
		platform := v1.Platform{OS: "linux", Architecture: arch}
		image, err := remote.Image(from, remote.WithContext(ctx), remote.WithPlatform(platform))
		if err != nil {
			return "", err
		}
		if image, err = p.addFile(ctx, image); err != nil {
			return "", err
		}
		made = mutate.AppendManifests(made, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	reference := p.registry.Addr() + "/actions/more:1"
	to, err := name.ParseReference(reference)
	if err == nil {
		err = remote.WriteIndex(to, made, remote.WithContext(ctx))
	}
	if err != nil {
		return "", fmt.Errorf("pushing %q: %w", reference, err)
	}
	return reference, nil
}

// addFile adds a layer of one file to an image.
func (p *place) addFile(ctx context.Context, image v1.Image) (v1.Image, error) {
	layer, err := writeLayer(ctx, filepath.Join(p.dir, "more"), func(w *tar.Writer) error {
		return writeFiles(ctx, w, "more", mib, mib, func(n uint64) io.Reader { return &words{noise: newNoise(n)} })
	})
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(image, layer)
}
