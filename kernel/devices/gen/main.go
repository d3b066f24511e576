// Command gen makes the table of drivers in package devices and the list of
// options in package kconfig from a distribution's full kernels and the sources
// of the same versions, the newest first:
//
//	go run ./kernel/devices/gen [-table FILE] [-options FILE] {VERSION SOURCE.tar.xz PACKAGE.deb...}...
//
// Without any packages, it renews only what has to be set for each driver of the
// embedded table: the sources have to be those of its kernels.
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/tarball"
	"hookbuild/kernel/deb"
	"hookbuild/kernel/devices"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/modules"
)

func main() {
	table := flag.String("table", "kernel/devices/table.zst", "the table of drivers to write")
	options := flag.String("options", "kernel/kconfig/options.zst", "the list of options to write")
	flag.Parse()
	if err := run(context.Background(), flag.Args(), *table, *options); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// series is one kernel version with its source and packages.
type series struct {
	version, source string
	packages        []string
	// trees hold the modules by release.
	trees map[string]*initramfs.Tree
	date  time.Time
	// makes maps a module's path without ".ko" to its option; options lists all
	// options of the source, and kconfig has its Kconfig files by path.
	makes   map[string]string
	options []string
	kconfig map[string][]byte
}

func run(ctx context.Context, args []string, table, options string) error {
	dir, err := os.MkdirTemp("", "hookbuild-gen-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	list, err := parseArgs(args)
	if err != nil {
		return err
	}
	for _, s := range list {
		if err := s.read(ctx, dir); err != nil {
			return err
		}
	}
	if err := writeTable(ctx, list, table); err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(s *series) bool { return len(s.packages) > 0 }) {
		return nil
	}
	return writeOptions(list, options)
}

func parseArgs(args []string) ([]*series, error) {
	var list []*series
	for i := 0; i < len(args); i++ {
		if strings.HasSuffix(args[i], ".deb") && len(list) > 0 {
			last := list[len(list)-1]
			last.packages = append(last.packages, args[i])
			continue
		}
		if i+1 == len(args) || !strings.HasSuffix(args[i+1], ".tar.xz") {
			return nil, fmt.Errorf("reading the arguments: %q is not a version followed by a source", args[i])
		}
		list = append(list, &series{version: args[i], source: args[i+1], trees: map[string]*initramfs.Tree{}, makes: map[string]string{}, kconfig: map[string][]byte{}})
		i++
	}
	if len(list) == 0 {
		return nil, errors.New("usage: gen [-table FILE] [-options FILE] {VERSION SOURCE.tar.xz PACKAGE.deb...}... (the newest kernel first)")
	}
	return list, nil
}

func (s *series) read(ctx context.Context, dir string) error {
	for _, name := range s.packages {
		if err := s.readPackage(ctx, dir, name); err != nil {
			return fmt.Errorf("reading %q: %w", name, err)
		}
	}
	return s.readSource()
}

// readPackage adds a package's modules to the tree of their release. The
// unpacked archive stays open until the program ends.
func (s *series) readPackage(ctx context.Context, dir, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p, err := deb.Open(f, info.Size(), name)
	if err != nil {
		return err
	}
	data, err := p.Data(ctx)
	if err != nil {
		return err
	}
	defer data.Close()
	plain, err := os.CreateTemp(dir, "")
	if err != nil {
		return err
	}
	size, err := io.Copy(plain, data)
	if err != nil {
		return err
	}
	entries, err := tarball.Entries(plain, size, name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.addEntry(e); err != nil {
			return err
		}
	}
	return nil
}

func (s *series) addEntry(e initramfs.Entry) error {
	e.Path = strings.TrimPrefix(e.Path, "usr/")
	rest, found := strings.CutPrefix(e.Path, "lib/modules/")
	if !found || e.Type != initramfs.Regular {
		return nil
	}
	release, _, _ := strings.Cut(rest, "/")
	if s.trees[release] == nil {
		s.trees[release] = &initramfs.Tree{}
	}
	if e.ModTime.After(s.date) {
		s.date = e.ModTime
	}
	return s.trees[release].Add(e)
}

var (
	makeRule   = regexp.MustCompile(`^obj-\$\((CONFIG_[A-Z0-9_a-z]+)\)\s*[:+]?=\s*(.*)$`)
	optionRule = regexp.MustCompile(`(?m)^\s*(?:menu)?config\s+([A-Za-z0-9_]+)\s*$`)
)

// readSource reads the Makefiles of a source archive, which map options to
// modules, and its Kconfig files, which define the options.
func (s *series) readSource() error {
	f, err := os.Open(s.source)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := xz.NewReader(f, 0)
	if err != nil {
		return err
	}
	files := tar.NewReader(plain)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %q: %w", s.source, err)
		}
		base := path.Base(header.Name)
		isKconfig := strings.HasPrefix(base, "Kconfig")
		if base != "Makefile" && base != "Kbuild" && !isKconfig {
			continue
		}
		text, err := io.ReadAll(files)
		if err != nil {
			return fmt.Errorf("reading %q: %w", s.source, err)
		}
		if isKconfig {
			_, name, _ := strings.Cut(header.Name, "/")
			s.kconfig[name] = text
			for _, m := range optionRule.FindAllSubmatch(text, -1) {
				s.options = append(s.options, string(m[1]))
			}
			continue
		}
		_, name, _ := strings.Cut(header.Name, "/") // without the archive's top directory
		s.readMakefile(path.Dir(name), string(text))
	}
}

func (s *series) readMakefile(dir, text string) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		m := makeRule.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		for _, object := range strings.Fields(m[2]) {
			if name, found := strings.CutSuffix(object, ".o"); found {
				s.makes[path.Join(dir, name)] = m[1]
			}
		}
	}
}

func writeTable(ctx context.Context, list []*series, name string) error {
	var kernels []devices.Kernel
	newest := time.Time{}
	for _, s := range list {
		var arches []string
		for release := range s.trees {
			arches = append(arches, release[strings.LastIndexByte(release, '-')+1:])
		}
		slices.Sort(arches)
		kernels = append(kernels, devices.Kernel{Version: s.version, Arches: arches})
		if s.date.After(newest) {
			newest = s.date
		}
	}
	table := devices.NewTable(newest, kernels)
	if newest.IsZero() {
		var err error
		if table, err = devices.ReadTable(); err != nil {
			return err
		}
		if err := sameVersions(table, list); err != nil {
			return err
		}
	}
	for i, s := range list {
		for _, release := range slices.Sorted(maps.Keys(s.trees)) {
			set, err := modules.Read(ctx, s.trees[release], release, 0)
			if err != nil {
				return err
			}
			s.addModules(table, i, set)
		}
		if err := s.addSettings(table, i); err != nil {
			return err
		}
	}
	var text bytes.Buffer
	if err := table.Write(&text); err != nil {
		return err
	}
	return writePacked(name, text.Bytes())
}

// sameVersions checks that the sources are those of a table's kernels.
func sameVersions(table *devices.Table, list []*series) error {
	var have, given []string
	for _, k := range table.Kernels {
		have = append(have, k.Version)
	}
	for _, s := range list {
		given = append(given, s.version)
	}
	if !slices.Equal(have, given) {
		return fmt.Errorf("renewing the settings of the table's drivers: it is of Linux %s, and the sources are of %s", strings.Join(have, ", "), strings.Join(given, ", "))
	}
	return nil
}

// Options that every HookOS has, without which it could neither boot nor reach a
// network; and options that are nearly always on, but are not so by Kconfig's own
// defaults, because the architecture or other drivers select them.
var (
	always = strings.Fields("64BIT ACPI BLK_DEV BLOCK ETHERNET EXPERT INET INPUT MODULES NET NETDEVICES PCI POSIX_TIMERS PRINTK PROC_FS SMP SYSFS TTY USB_SUPPORT")
	nearly = strings.Fields("ATA COMMON_CLK CPU_FREQ CRYPTO I2C PCI_MSI SCSI SCSI_LOWLEVEL USB VIRTIO_MENU")
)

// addSettings adds what has to be set for each driver, by the Kconfig files for
// amd64, else for arm64.
func (s *series) addSettings(table *devices.Table, at int) error {
	var trees []*kconfig.Tree
	for _, arch := range []string{"x86", "arm64"} {
		tree, err := kconfig.ReadTree(func(name string) ([]byte, error) {
			text, ok := s.kconfig[name]
			if !ok {
				return nil, fmt.Errorf("%q has no %q", s.source, name)
			}
			return text, nil
		}, arch)
		if err != nil {
			return fmt.Errorf("reading Linux %s for %s: %w", s.version, arch, err)
		}
		trees = append(trees, tree)
	}
	table.AddSettings(at, func(option string, companions []string) []kconfig.Setting {
		for _, tree := range trees {
			if all, err := settingsIn(tree, option, companions); err == nil {
				return all
			} else if tree == trees[len(trees)-1] {
				fmt.Fprintf(os.Stderr, "Linux %s: no settings of %s: %v\n", s.version, option, err)
			}
		}
		return nil
	})
	return nil
}

// settingsIn returns the settings of an option and its companions, without those that
// every HookOS has.
func settingsIn(tree *kconfig.Tree, option string, companions []string) ([]kconfig.Setting, error) {
	usual := slices.Concat(always, nearly)
	all, err := tree.Settings(option, usual)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Option == option {
			all[i].Default, all[i].Usual = false, false
		}
	}
	for _, name := range companions {
		more, err := tree.Settings(name, usual)
		if err != nil {
			return nil, err
		}
		if len(more) > 0 {
			more[0].Default, more[0].Usual = false, false
		}
		for _, m := range more {
			same := func(have kconfig.Setting) bool { return have.Option == m.Option }
			if i := slices.IndexFunc(all, same); i < 0 {
				all = append(all, m)
			} else if m.Value == "y" {
				all[i].Value = "y"
			}
		}
	}
	return slices.DeleteFunc(all, func(set kconfig.Setting) bool {
		return set.Expected() && slices.Contains(always, strings.TrimPrefix(set.Option, kconfig.Prefix))
	}), nil
}

// addModules adds the drivers of one release. Nearly all are modules in a
// distribution's kernel; a few are built in.
func (s *series) addModules(table *devices.Table, at int, set *modules.Set) {
	for _, m := range set.Modules {
		place := strings.TrimPrefix(m.Path, "kernel/")
		place, _, _ = strings.Cut(place, ".ko")
		var needs []string
		firmware := slices.Clone(m.Firmware)
		for _, d := range m.Dependencies() {
			if len(d.Firmware) > 0 {
				needs = append(needs, d.Name)
				firmware = append(firmware, d.Firmware...)
			}
		}
		table.Add(at, m.Name, s.makes[place], needs, firmware, m.Aliases)
	}
	for _, name := range set.BuiltinNames() {
		place := ""
		if files := set.BuiltinValues(name, "file"); len(files) > 0 {
			place = files[0]
		}
		table.Add(at, name, s.makes[place], nil, set.BuiltinValues(name, "firmware"), set.BuiltinValues(name, "alias"))
	}
}

// writeOptions writes the names of all options, one per line.
func writeOptions(list []*series, name string) error {
	var all []string
	for _, s := range list {
		all = append(all, s.options...)
	}
	slices.Sort(all)
	return writePacked(name, []byte(strings.Join(slices.Compact(all), "\n")+"\n"))
}

func writePacked(name string, text []byte) error {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return err
	}
	return os.WriteFile(name, encoder.EncodeAll(text, nil), 0o644)
}
