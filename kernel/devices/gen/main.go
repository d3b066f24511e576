// Command gen makes the table of drivers in package devices from Debian's full
// kernel package and the kernel source of the same version:
//
//	go run ./kernel/devices/gen LINUX-IMAGE.deb LINUX-SOURCE.tar.xz kernel/devices/table.zst
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"

	"hookbuild/internal/cache"
	"hookbuild/kernel"
	"hookbuild/kernel/devices"
	"hookbuild/kernel/modules"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: gen LINUX-IMAGE.deb LINUX-SOURCE.tar.xz TABLE")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, packageFile, source, out string) error {
	dir, err := os.MkdirTemp("", "hookbuild-gen-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store, err := cache.Open(dir, nil)
	if err != nil {
		return err
	}
	image, err := kernel.FromDeb(ctx, []string{packageFile}, kernel.Options{Cache: store})
	if err != nil {
		return err
	}
	defer image.Close()
	set, err := modules.Read(ctx, image.Modules, image.Release, 0)
	if err != nil {
		return err
	}
	options, err := readOptions(source)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := devices.WriteTable(&text, "Linux "+image.Release+", "+path.Base(packageFile), known(set, options)); err != nil {
		return err
	}
	return writePacked(out, text.Bytes())
}

// known makes the table's lines; drivers for devices come as modules of a
// distribution's kernel, and a few are built in.
func known(set *modules.Set, options map[string]string) []*devices.Known {
	var list []*devices.Known
	add := func(k *devices.Known) {
		if k != nil {
			list = append(list, k)
		}
	}
	for _, m := range set.Modules {
		place := strings.TrimSuffix(strings.TrimPrefix(m.Path, "kernel/"), ".ko")
		add(devices.NewKnown(m.Name, options[place], m.Firmware, m.Aliases))
	}
	for _, name := range set.BuiltinNames() {
		place := ""
		if files := set.BuiltinValues(name, "file"); len(files) > 0 {
			place = files[0]
		}
		add(devices.NewKnown(name, options[place], set.BuiltinValues(name, "firmware"), set.BuiltinValues(name, "alias")))
	}
	return list
}

var rule = regexp.MustCompile(`^obj-\$\((CONFIG_[A-Z0-9_a-z]+)\)\s*[:+]?=\s*(.*)$`)

// readOptions reads the Makefiles of a source archive: which option makes
// which module, by the module's path without ".ko".
func readOptions(source string) (map[string]string, error) {
	f, err := os.Open(source)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain, err := xz.NewReader(f, 0)
	if err != nil {
		return nil, err
	}
	options := map[string]string{}
	files := tar.NewReader(plain)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return options, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", source, err)
		}
		if base := path.Base(header.Name); base != "Makefile" && base != "Kbuild" {
			continue
		}
		text, err := io.ReadAll(files)
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", source, err)
		}
		_, name, _ := strings.Cut(header.Name, "/") // without the archive's top directory
		readMakefile(options, path.Dir(name), string(text))
	}
}

func readMakefile(options map[string]string, dir, text string) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		m := rule.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		for _, object := range strings.Fields(m[2]) {
			if name, found := strings.CutSuffix(object, ".o"); found {
				options[path.Join(dir, name)] = m[1]
			}
		}
	}
}

func writePacked(name string, text []byte) error {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return err
	}
	return os.WriteFile(name, encoder.EncodeAll(text, nil), 0o644)
}
