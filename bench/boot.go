package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"hookbuild/test/corpus"
	"hookbuild/test/lab"
)

// machineMB is the RAM of the machines that are booted, in MiB.
const machineMB = 3072

// booted is what a machine reports about itself. Sizes are in bytes.
type booted struct {
	initramfs      int64
	mounted, ready time.Duration // since the kernel's start; ready: dockerd answers
	used, files    int64         // RAM in use with dockerd ready, and by tmpfs alone
}

// The forms of the store whose boots are compared, except the layouts.
const (
	packedXZ = "packed, xz"
	byOldWay = "the old way's"
	without  = "no images"
)

// compareBoots boots one HookOS without images, with the seven in each form,
// and with the data root that the old way makes from them.
func compareBoots(ctx context.Context, b *bench) (string, error) {
	p, err := openPlace(ctx, b)
	if err != nil {
		return "", err
	}
	files, err := p.embedForms(ctx)
	if err != nil {
		return "", err
	}
	rounds := map[string][]booted{}
	for round := range b.rounds {
		for _, form := range bootForms() {
			m, err := p.boot(ctx, files[form])
			if err != nil {
				return "", err
			}
			b.say("round %d of %d: %s: store mounted after %.1f s, dockerd ready after %.1f s", round+1, b.rounds, form, m.mounted.Seconds(), m.ready.Seconds())
			rounds[form] = append(rounds[form], m)
		}
	}
	medians := map[string]booted{}
	for form, all := range rounds {
		medians[form] = medianBoot(all)
	}
	return bootTable(medians), nil
}

func bootForms() []string { return []string{without, packed, packedXZ, directory, byOldWay} }

// embedForms returns the initramfs of each form.
func (p *place) embedForms(ctx context.Context) (map[string]string, error) {
	cache := filepath.Join(p.dir, "cache")
	files := map[string]string{without: p.initramfs}
	for form, flags := range map[string][]string{
		packed:    {packed},
		packedXZ:  {packed, "--pack-compression", "xz"},
		directory: {directory},
	} {
		files[form] = filepath.Join(p.dir, strings.Join(flags, "-"))
		if _, err := p.embed(cache, flags[0], files[form], flags[1:]...).run(ctx); err != nil {
			return nil, err
		}
	}
	files[byOldWay] = filepath.Join(p.dir, "old-way")
	return files, p.embedOldWay(ctx, files[byOldWay])
}

// embedOldWay writes the HookOS with the old way's data root as one more segment.
func (p *place) embedOldWay(ctx context.Context, file string) error {
	o, err := beginOldWay(ctx, p)
	if err != nil {
		return err
	}
	for _, do := range []func(*oldWay, context.Context) error{
		(*oldWay).pullImages, (*oldWay).saveImages, (*oldWay).startSecond, (*oldWay).loadImages, (*oldWay).tagImages, (*oldWay).copyStore, (*oldWay).packBootable,
	} {
		if err := do(o, ctx); err != nil {
			return fmt.Errorf("making the old way's store: %w", err)
		}
	}
	if err := o.shell(ctx, `cat "$1" "$2" >"$3"`, p.initramfs, o.path("bootable.zst"), file); err != nil {
		return err
	}
	return o.end()
}

// boot boots an initramfs until dockerd is ready and a little longer.
func (p *place) boot(ctx context.Context, file string) (m booted, err error) {
	console, err := lab.Boot(ctx, lab.Machine{
		Arch: p.arch, Kernel: p.vmlinuz, Initramfs: []string{file}, MemoryMB: machineMB, Timeout: 10 * time.Minute,
		Cmdline: "quiet loglevel=3 facility=onprem hookbuild.demo=poweroff tink_worker_image=127.0.0.1/embedded/" + corpus.Worker + ":latest",
	})
	if err != nil {
		return m, err
	}
	report := lab.ParseConsole(console)
	mounted, ok := report.Event("init.d", "") // the first script mounts the store, if there is one
	ready, also := report.Event("dockerd-ready", "")
	if !ok || !also {
		return m, fmt.Errorf("booting %q: its console does not tell when the store was mounted and dockerd ready: %s", file, tail(console))
	}
	m = booted{mounted: mounted.At, ready: ready.At, used: ready.KiB("MemTotal") - ready.KiB("MemAvailable"), files: ready.KiB("Shmem")}
	m.initramfs, err = sizeOf(file)
	return m, err
}

func medianBoot(rounds []booted) booted {
	return booted{
		initramfs: medianOf(rounds, func(b booted) int64 { return b.initramfs }),
		mounted:   medianOf(rounds, func(b booted) time.Duration { return b.mounted }),
		ready:     medianOf(rounds, func(b booted) time.Duration { return b.ready }),
		used:      medianOf(rounds, func(b booted) int64 { return b.used }),
		files:     medianOf(rounds, func(b booted) int64 { return b.files }),
	}
}

// bootTable shows each figure with what the images add to it, and what the
// packed forms add in relation to the directory layout.
func bootTable(m map[string]booted) string {
	var s strings.Builder
	s.WriteString("| store | initramfs | store mounted | dockerd ready | RAM in use then | of it files |\n|---|--:|--:|--:|--:|--:|\n")
	none := m[without]
	for _, form := range bootForms() {
		b := m[form]
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %s |\n", form, added(megabytes, none.initramfs, b.initramfs), added(seconds, none.mounted, b.mounted),
			added(seconds, none.ready, b.ready), added(megabytes, none.used, b.used), added(megabytes, none.files, b.files))
	}
	for _, form := range []string{packed, packedXZ} {
		b, d := m[form], m[directory]
		fmt.Fprintf(&s, "| %s adds, of what directory adds | %s | %s | %s | %s | %s |\n", form, share(none.initramfs, b.initramfs, d.initramfs), share(none.mounted, b.mounted, d.mounted),
			share(none.ready, b.ready, d.ready), share(none.used, b.used, d.used), share(none.files, b.files, d.files))
	}
	return s.String()
}

func added[T ~int64](show func(T) string, none, figure T) string {
	if figure == none {
		return show(figure)
	}
	return fmt.Sprintf("%s (+ %s)", show(figure), show(figure-none))
}

func share[T ~int64](none, ours, other T) string {
	return fmt.Sprintf("%.2f", float64(ours-none)/float64(other-none))
}
