package container

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/bounded"
	"hookbuild/kernel/kconfig"
)

// CompileOptions configure how a kernel is compiled.
type CompileOptions struct {
	// Strip removes the parts of modules that are not needed at run time
	// (debugging symbols).
	Strip bool
	// Time is the build time that the kernel reports; the zero time means
	// 1970. The kernel's bytes depend on it.
	Time time.Time
}

// Compile builds the kernel and writes kernel, kernel.tar, dtbs.tar.gz,
// System.map and config into dir, which appears complete or not at all. It
// returns a sentence for each line of the target's configuration that the
// source did not accept.
func (b *Builder) Compile(ctx context.Context, t Target, o CompileOptions, dir string) (lost []string, err error) {
	tools, image, err := b.prepare(ctx, t)
	if err != nil {
		return nil, err
	}
	err = atomicfile.ReplaceDir(dir, func(part string) error {
		err := b.run(ctx, job{
			target: t, step: "compile", script: "compile.sh", image: image,
			env:     append(b.environment(tools), o.environment()...),
			files:   map[string][]byte{"defconfig": t.Defconfig, "stamp": stamp(t, image)},
			collect: func(ctx context.Context, id string) error { return b.saveOutputs(ctx, id, "the kernel", part) },
		})
		if err == nil {
			lost, err = takeLost(t, part)
		}
		return err
	})
	return lost, err
}

// takeLost explains the lines that the compiled kernel's configuration lacks.
// It removes the Kconfig files, which were kept for that.
func takeLost(t Target, dir string) ([]string, error) {
	archive := filepath.Join(dir, "kconfig.tar")
	files, err := bounded.ReadFile(archive, mostSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := errors.Join(err, os.Remove(archive)); err != nil {
		return nil, fmt.Errorf("reading the kernel's Kconfig files: %w", err)
	}
	f, err := os.Open(filepath.Join(dir, "config"))
	if err != nil {
		return nil, fmt.Errorf("reading the compiled kernel's configuration: %w", err)
	}
	made, err := kconfig.Parse(f, "the compiled kernel's configuration")
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return lostLines(t, made, files)
}

func (o CompileOptions) environment() []string {
	at := time.Unix(0, 0)
	if !o.Time.IsZero() {
		at = o.Time
	}
	strip := ""
	if o.Strip {
		strip = "1"
	}
	return []string{
		"STRIP=" + strip,
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", at.Unix()),
		"KBUILD_BUILD_TIMESTAMP=" + at.UTC().Format(time.UnixDate),
	}
}

// stamp identifies the inputs of the .config in the objects' volume.
func stamp(t Target, image string) []byte {
	text := fmt.Appendf(nil, "%x %s\n", sha256.Sum256(t.Defconfig), image)
	if len(t.Patches) > 0 {
		text = fmt.Appendf(text, "%s\n", t.PatchesID())
	}
	return text
}
