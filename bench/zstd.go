package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	library "github.com/klauspost/compress/zstd"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/initramfs/zstd"
)

// encodeVariable makes this program compress standard input to standard output
// and end; its value is the name of an encoder below. So each encoder runs in a
// separate process, measured like any program.
const encodeVariable = "HOOKBUILD_BENCH_ENCODE"

// encoder is a way to compress a root file system.
type encoder struct {
	name  string
	ours  bool
	level int
	// window is in MiB.
	window, jobs int
}

// ourWindows are the windows of the table of windows.
func ourWindows() []int {
	return []int{8, 16, 32, 64, 80, zstd.DefaultWindow >> 20, 96, zstd.MaxWindow >> 20}
}

func encoders() []encoder {
	const usual = zstd.DefaultWindow >> 20
	all := []encoder{
		{"ours, as hookbuild uses it", true, 0, usual, 1},
		{"ours, level 1", true, 1, usual, 1},
		{"ours, level 4", true, 4, usual, 1},
	}
	for level := library.SpeedFastest; level <= library.SpeedBetterCompression; level++ {
		all = append(all, encoder{fmt.Sprintf("klauspost/compress, %s, window of 128 MiB", level), false, int(level), zstd.MaxWindow >> 20, 1})
	}
	for _, window := range ourWindows() {
		all = append(all, encoder{fmt.Sprintf("ours, window of %d MiB, two jobs", window), true, 0, window, 2})
	}
	return all
}

// programs returns the levels of the zstd program to compare with.
func programs() [][]string {
	return [][]string{{"-3", "--long=27", "-T1"}, {"-3", "-T1"}, {"-9", "--long=27", "-T1"}}
}

// encoded reports whether this process has compressed for another; see
// [encodeVariable].
func encoded(in io.Reader, out io.Writer) (bool, error) {
	name := os.Getenv(encodeVariable)
	if name == "" {
		return false, nil
	}
	for _, e := range encoders() {
		if e.name == name {
			return true, e.encode(in, out)
		}
	}
	return true, fmt.Errorf("no encoder is named %q", name)
}

func (e encoder) encode(in io.Reader, out io.Writer) error {
	w, err := e.writer(out)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return errors.Join(err, w.Close())
}

func (e encoder) writer(out io.Writer) (io.WriteCloser, error) {
	if e.ours {
		return zstd.NewWriter(context.Background(), out, zstd.Options{Level: e.level, Window: e.window << 20, Jobs: e.jobs}), nil
	}
	return library.NewWriter(out, library.WithEncoderLevel(library.EncoderLevel(e.level)),
		library.WithWindowSize(e.window<<20), library.WithEncoderConcurrency(e.jobs))
}

// compareEncoders compresses the root file system of the miniature HookOS with
// our encoder, with klauspost's and with the zstd program, one after the other.
func compareEncoders(ctx context.Context, b *bench) (string, error) {
	root, err := b.rootArchive(ctx)
	if err != nil {
		return "", err
	}
	size, err := sizeOf(root)
	if err != nil {
		return "", err
	}
	own, err := os.Executable()
	if err != nil {
		return "", err
	}
	var s strings.Builder
	fmt.Fprintf(&s, "| %s | CPU | size | peak RSS |\n|---|--:|--:|--:|\n", megabytes(size))
	row := func(name string, c command) error {
		o, err := b.encodeRounds(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.say("%s: %s, %s", name, seconds(o.cpu), megabytes(o.size))
		fmt.Fprintf(&s, "| %s | %s | %s | %.0f MiB |\n", name, seconds(o.cpu), megabytes(o.size), float64(o.peak)/mib)
		return nil
	}
	for _, args := range programs() {
		name := "zstd " + strings.Join(args, " ")
		if err := row(name, script(`exec "${@:3}" <"$1" >"$2"`, append([]string{root, b.packedRoot(), "zstd", "-q", "-c"}, args...)...)); err != nil {
			return "", err
		}
	}
	for _, e := range encoders() {
		c := script(`exec "$3" <"$1" >"$2"`, root, b.packedRoot(), own)
		c.env = []string{encodeVariable + "=" + e.name, "GOMAXPROCS=" + strconv.Itoa(e.jobs)}
		if err := row(e.name, c); err != nil {
			return "", err
		}
	}
	return s.String(), nil
}

func (b *bench) packedRoot() string { return filepath.Join(b.dir, "root.zst") }

func (b *bench) encodeRounds(ctx context.Context, c command) (outcome, error) {
	var rounds []outcome
	for range b.rounds {
		spent, err := c.run(ctx)
		if err != nil {
			return outcome{}, err
		}
		size, err := sizeOf(b.packedRoot())
		if err != nil {
			return outcome{}, err
		}
		rounds = append(rounds, outcome{spent, size})
	}
	return median(rounds), nil
}

// rootArchive returns a file with the root file system as one uncompressed
// archive: the given one, or that of the HookOS built for the comparison.
func (b *bench) rootArchive(ctx context.Context) (string, error) {
	if b.root != "" {
		return b.root, nil
	}
	p, err := openPlace(ctx, b)
	if err != nil {
		return "", err
	}
	name := filepath.Join(b.dir, "root.cpio")
	in, err := os.Open(p.initramfs)
	if err != nil {
		return "", err
	}
	defer in.Close() // only read
	out, err := os.Create(name)
	if err != nil {
		return "", err
	}
	return name, errors.Join(unpackFirst(ctx, in, out), out.Close())
}

// unpackFirst writes the content of the first segment of an initramfs, which is
// the root file system's archive.
func unpackFirst(ctx context.Context, in *os.File, out io.Writer) error {
	segments, err := initramfs.ReadSegments(ctx, in, initramfs.Limits{})
	if err != nil {
		return err
	}
	if len(segments) == 0 || segments[0].Compression != initramfs.Zstd {
		return fmt.Errorf("unpacking %q: it does not begin with a zstd segment", in.Name())
	}
	plain, err := library.NewReader(io.NewSectionReader(in, segments[0].Offset, segments[0].Size), library.WithDecoderConcurrency(1), library.WithDecoderMaxWindow(zstd.MaxWindow))
	if err != nil {
		return err
	}
	defer plain.Close()
	if _, err := io.Copy(out, plain); err != nil {
		return fmt.Errorf("unpacking %q: %w", in.Name(), err)
	}
	return nil
}
