package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/squashfs"
)

// comparePackers packs the same store with our writer and with mksquashfs, with
// the same compressor, block size and number of processors. The store is what a
// dockerd unpacked when it pulled the seven images.
func comparePackers(ctx context.Context, b *bench) (string, error) {
	store, err := unpackStore(ctx, b)
	if err != nil {
		return "", err
	}
	var ours, theirs []outcome
	for round := range b.rounds {
		o, err := packOurs(ctx, b, store)
		if err != nil {
			return "", err
		}
		t, err := packTheirs(ctx, b, store)
		if err != nil {
			return "", err
		}
		b.say("round %d of %d: ours %.2f s, mksquashfs %.2f s", round+1, b.rounds, o.wall.Seconds(), t.wall.Seconds())
		ours, theirs = append(ours, o), append(theirs, t)
	}
	o, t := median(ours), median(theirs)
	var s strings.Builder
	s.WriteString("| squashfs, gzip, 128 KiB blocks | ours | mksquashfs | times |\n|---|--:|--:|--:|\n")
	fmt.Fprintf(&s, "| wall | %s |\n", pair(seconds, o.wall, t.wall))
	fmt.Fprintf(&s, "| CPU | %s |\n", pair(seconds, o.cpu, t.cpu))
	fmt.Fprintf(&s, "| size | %s | %s | %.3f |\n", megabytes(o.size), megabytes(t.size), float64(t.size)/float64(o.size))
	return s.String(), nil
}

// unpackStore returns a directory with the layers of the seven images, and brings
// it into the page cache.
func unpackStore(ctx context.Context, b *bench) (string, error) {
	p, err := openPlace(ctx, b)
	if err != nil {
		return "", err
	}
	root := filepath.Join(b.dir, "data-root")
	e, err := startEngine(ctx, filepath.Join(b.dir, "engine"), root, "--storage-driver=overlay2")
	if err != nil {
		return "", err
	}
	b.atEnd(e.stop)
	o := &oldWay{place: p, builder: e}
	if err := errors.Join(o.pullImages(ctx), e.stop()); err != nil {
		return "", err
	}
	store := filepath.Join(root, "overlay2")
	_, err = script(`tar -c -C "$1" . | cat >/dev/null`, store).run(ctx)
	return store, err
}

// packers returns the number of processors that both may use.
func packers() int { return min(2, runtime.NumCPU()) }

// packOurs measures [squashfs.Write] in this process.
func packOurs(ctx context.Context, b *bench, store string) (o outcome, err error) {
	f, err := os.Create(filepath.Join(b.dir, "ours.squashfs"))
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	settle()
	before, err := ownCPU()
	if err != nil {
		return o, err
	}
	began := time.Now()
	tree, err := readTree(store)
	if err != nil {
		return o, err
	}
	stats, err := squashfs.Write(ctx, f, tree, squashfs.Options{Compression: squashfs.Gzip, BlockSize: 128 << 10, Jobs: packers(), ModTime: initramfs.Epoch()})
	if err != nil {
		return o, err
	}
	o.wall, o.size = time.Since(began), stats.Size
	after, err := ownCPU()
	o.cpu = after - before
	return o, err
}

func ownCPU() (time.Duration, error) {
	var usage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}

func packTheirs(ctx context.Context, b *bench, store string) (o outcome, err error) {
	file := filepath.Join(b.dir, "theirs.squashfs")
	settle()
	o.cost, err = command{args: []string{
		"mksquashfs", store, file, "-noappend", "-no-progress", "-comp", "gzip", "-Xcompression-level", "6", "-b", "128K",
		"-processors", strconv.Itoa(packers()),
	}}.run(ctx)
	if err != nil {
		return o, err
	}
	o.size, err = sizeOf(file)
	return o, err
}
