package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"hookbuild/internal/lab"
	"hookbuild/internal/lab/corpus"
)

// machineMB is the RAM of the machines that are booted, in MiB.
const machineMB = 3072

// booted is what a machine tells of itself. Sizes are in bytes.
type booted struct {
	initramfs      int64
	mounted, ready time.Duration // since the kernel's start; ready: dockerd answers
	used, files    int64         // RAM in use with dockerd ready, and by tmpfs alone
}

// compareBoots boots one HookOS without images, with the seven in each layout,
// and with the data root that the old way makes of them.
func compareBoots(ctx context.Context, b *bench) (string, error) {
	p, err := openPlace(ctx, b)
	if err != nil {
		return "", err
	}
	files := []string{p.initramfs}
	for _, layout := range layouts() {
		file := filepath.Join(b.dir, layout)
		if _, err := p.embed(filepath.Join(b.dir, "cache"), layout, file).run(ctx); err != nil {
			return "", err
		}
		files = append(files, file)
	}
	old := filepath.Join(b.dir, "old-way")
	if err := p.embedOldWay(ctx, old); err != nil {
		return "", err
	}
	files = append(files, old)
	rounds := make([][]booted, len(files))
	for round := range b.rounds {
		for i, file := range files {
			m, err := p.boot(ctx, file)
			if err != nil {
				return "", err
			}
			b.say("round %d of %d: %s: store mounted after %.1f s, dockerd ready after %.1f s", round+1, b.rounds, filepath.Base(file), m.mounted.Seconds(), m.ready.Seconds())
			rounds[i] = append(rounds[i], m)
		}
	}
	return bootTable(medianBoot(rounds[0]), medianBoot(rounds[1]), medianBoot(rounds[2]), medianBoot(rounds[3])), nil
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

// boot boots an initramfs until dockerd is ready and a little more.
func (p *place) boot(ctx context.Context, file string) (m booted, err error) {
	console, err := lab.Boot(ctx, lab.Machine{
		Arch: p.arch, Kernel: p.vmlinuz, Initramfs: []string{file}, MemoryMB: machineMB, Timeout: 10 * time.Minute,
		Cmdline: "quiet loglevel=3 facility=onprem hookbuild.demo=poweroff tink_worker_image=127.0.0.1/embedded/" + corpus.Worker + ":latest",
	})
	if err != nil {
		return m, err
	}
	report := lab.ParseConsole(console)
	mounted, ok := report.Event("init.d", "") // the first script mounts the store, where there is one
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

// bootTable shows each figure, what the images add to it, and how many times what
// they add packed the other forms add.
func bootTable(none, packed, directory, old booted) string {
	var s strings.Builder
	s.WriteString("| | no images | packed | directory | old way | added, packed | added, directory | times | added, old way | times |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	added(&s, "initramfs", megabytes, none.initramfs, packed.initramfs, directory.initramfs, old.initramfs)
	added(&s, "store mounted", seconds, none.mounted, packed.mounted, directory.mounted, old.mounted)
	added(&s, "dockerd ready", seconds, none.ready, packed.ready, directory.ready, old.ready)
	added(&s, "RAM in use then", megabytes, none.used, packed.used, directory.used, old.used)
	added(&s, "of it files", megabytes, none.files, packed.files, directory.files, old.files)
	return s.String()
}

func added[T ~int64](s *strings.Builder, title string, show func(T) string, none, packed, directory, old T) {
	fmt.Fprintf(s, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", title, show(none), show(packed), show(directory), show(old),
		pair(show, packed-none, directory-none), show(old-none), ratio(packed-none, old-none))
}
