package main

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/bundles"
	"hookbuild/embed"
	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/squashfs"
	"hookbuild/kernel/flavor"
	"hookbuild/machine"
	"hookbuild/machine/verdict"
	"hookbuild/netboot"
	"hookbuild/site/lock"
)

// argumentKind matches the words of an ArgsUsage, such as FLAVOR and image:REF.
var argumentKind = regexp.MustCompile(`[a-z]+:[A-Z]+|[A-Z]+`)

// argument adds what an argument of a kind may be.
func (f *completion) argument(root *cli.App, kind string) {
	switch kind {
	case "COMMAND": // of help
		commands := root.Commands
		if c, _, err := findCommand(root, f.line.words); err == nil && c != nil {
			commands = c.Subcommands
		}
		f.commands(commands)
	case "NAME":
		f.arguedNames()
	case "FLAVOR":
		if !slices.Contains(f.line.options, "update") { // lock --update takes names of inputs
			f.kind("", kind)
		}
	default:
		f.kind("", kind)
	}
}

// arguedNames adds what the argument NAME means: an input of the lock or an image
// in an initramfs.
func (f *completion) arguedNames() {
	switch {
	case slices.Contains(f.line.options, "update"):
		for _, b := range f.lock().Builds {
			f.add("", b.Names()...)
		}
	case len(f.line.words) > 0: // extract-image IN NAME
		m, err := artifact.ReadManifest(filepath.Join(filepath.Dir(f.line.words[0]), artifact.ManifestFile))
		if err != nil {
			return // without a manifest, the names are those that embed --list reads slowly
		}
		for _, b := range m.Builds {
			for _, image := range b.Embedded {
				f.add("", image.Names...)
			}
		}
	}
}

// value adds what the value of an option may be. The word has it after before.
func (f *completion) value(before string, flags []cli.Flag, name string) {
	at := slices.IndexFunc(flags, func(flag cli.Flag) bool { return slices.Contains(flag.Names(), name) })
	if at < 0 {
		return
	}
	flag, ok := flags[at].(cli.DocGenerationFlag)
	if !ok || !flag.TakesValue() {
		return
	}
	placeholder, _ := unquoteUsage(flag.GetUsage())
	if _, isList := flags[at].(*cli.StringSliceFlag); isList {
		before = f.word[:max(len(before), strings.LastIndex(f.word, ",")+1)]
	}
	if words := f.choices(flags[at].Names()[0], placeholder); words != nil {
		f.add(before, words...)
		return
	}
	for kind := range strings.SplitSeq(placeholder, "|") {
		f.kind(before, kind)
	}
}

// choices returns the values of an option that has a fixed set of them.
func (f *completion) choices(name, placeholder string) []string {
	switch name + " " + placeholder {
	case "arch ARCH":
		return []string{"amd64", "arm64"}
	case "progress FORMAT":
		return []string{"auto", "tty", "plain", "github", "json"}
	case "format github|gitlab|json":
		return strings.Split(placeholder, "|")
	case "compression METHOD":
		return []string{string(initramfs.Zstd), string(initramfs.Gzip), string(initramfs.None)}
	case "pack-compression METHOD":
		return []string{string(squashfs.Zstd), string(squashfs.Gzip), string(squashfs.XZ)}
	case "layout LAYOUT":
		return []string{string(embed.Packed), string(embed.Directory), string(embed.Auto)}
	case "firmware KIND":
		return []string{"bios", "uefi"}
	case "accel NAME":
		return []string{"auto", "tcg", "kvm"}
	case "nic MODEL":
		return machine.NICs()
	case "disk CONTROLLER":
		return machine.Controllers()
	case "require CHECK":
		return verdict.Names()
	case "server KIND":
		return strings.Split(serverNames(), ", ")
	case "phase PHASE":
		return []string{string(netboot.Bootstrap), string(netboot.Cluster)}
	case "eksa-version VERSION":
		return []string{bundles.Latest}
	case "template NAME":
		return f.templates()
	case "tags TAG,...":
		return f.tags()
	case "interface NAME":
		return interfaces()
	}
	return nil
}

// kind adds what a value of a kind, as usage texts name it, may be.
func (f *completion) kind(before, kind string) {
	switch kind {
	case "FLAVOR":
		for _, x := range f.flavors() {
			f.words = append(f.words, helpRow{before + x.ID, strings.TrimSpace(x.DockerArch() + " " + x.Series)})
		}
	case "FILE", "KEY", "OLD", "IN", "VMLINUZ", "INITRAMFS", "SOURCE":
		f.addPaths(before, files)
	case "DIR":
		f.addPaths(before, dirs)
	case "KERNEL":
		f.add(before, "latest", "build")
		for _, form := range []string{"image:REF", "deb:FILE", "dir:DIR"} {
			f.kind(before, form)
		}
	case "REF":
		f.add(before, f.images()...)
	case "SRC[=NAME]":
		f.embedded(before)
	case "image:REF", "deb:FILE", "dir:DIR":
		prefix, of, _ := strings.Cut(kind, ":")
		if before += prefix + ":"; strings.HasPrefix(f.word, before) {
			f.kind(before, of)
		} else {
			f.add(before, "")
		}
	}
}

// embedded adds images and, after the =, the names that templates use for them.
func (f *completion) embedded(before string) {
	source, _, named := strings.Cut(strings.TrimPrefix(f.word, before), "=")
	if !named {
		f.add(before, f.images()...)
		return
	}
	images, err := bundles.List{{Source: source}}.Images()
	if err != nil {
		return // not yet a reference
	}
	for _, image := range images {
		f.add(before+source+"=", "127.0.0.1/embedded/"+image.Name)
	}
}

func (f *completion) flavors() []flavor.Flavor {
	all, err := f.a.flavors(f.c)
	if err != nil { // such as a checkout that is not in the cache
		all = flavor.Upstream()
	}
	return all.All()
}

func (f *completion) templates() []string {
	workspace, err := f.a.workspace(f.c)
	if err != nil {
		return []string{}
	}
	names, _ := workspace.Templates()
	return names
}

func (f *completion) tags() []string {
	found := map[string]bool{}
	for _, x := range f.flavors() {
		for _, tag := range x.Tags {
			found[tag] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func interfaces() []string {
	names := []string{}
	all, _ := net.Interfaces() // none are shown if they are not known
	for _, i := range all {
		names = append(names, i.Name)
	}
	return names
}

// images returns the references that this machine knows of without asking the
// network: those of a bundle manifest in a file, hookbuild.yaml, the lock and the
// cache.
func (f *completion) images() []string {
	found := map[string]bool{}
	add := func(ref string) { found[ref] = true }
	for _, image := range f.bundle() {
		add(image.Source)
	}
	if f.a.site != nil {
		for _, image := range f.a.site.Embed.Images {
			add(image.Source)
		}
	}
	for _, b := range f.lock().Builds {
		for _, image := range b.AllImages() {
			add(image.Reference)
		}
	}
	for _, ref := range f.cached() {
		add(ref)
	}
	return slices.Sorted(maps.Keys(found))
}

// bundle returns the images of the bundle manifest that the line or
// hookbuild.yaml names, if that is a file.
func (f *completion) bundle() []bundles.Image {
	path, ok := f.line.valueOf("bundle")
	if !ok {
		path = f.setting("embed.bundle")
	}
	if path == "" {
		return nil
	}
	resolver := &bundles.Resolver{Offline: true, Progress: progress.Discard{}}
	b, err := resolver.Load(f.c.Context, bundles.Ref{Bundle: path})
	if err != nil {
		return nil
	}
	kubernetes, _ := f.line.valueOf("kube-version")
	images, err := b.Images(bundles.Options{KubeVersion: kubernetes})
	if err != nil { // such as a bundle whose worker is elsewhere
		images, _ = b.Images(bundles.Options{KubeVersion: kubernetes, NoWorker: true})
	}
	return images
}

// setting returns the value of a key of hookbuild.yaml, "" without one.
func (f *completion) setting(key string) string {
	if f.a.site != nil {
		for _, s := range f.a.site.settings {
			if s.Key == key {
				return strings.Join(s.Values, " ")
			}
		}
	}
	return ""
}

func (f *completion) lock() *lock.File {
	path, ok := f.line.valueOf("lock-file")
	if !ok {
		dir := checkoutAbove(f.c)
		if f.a.site != nil {
			dir = f.a.site.Dir
		}
		path = filepath.Join(dir, lock.Name)
	}
	if file, err := lock.Read(path); err == nil {
		return file
	}
	return &lock.File{}
}

// cached returns the references whose digest the cache knows. Completion creates
// no cache.
func (f *completion) cached() []string {
	dir, err := f.a.cacheDir(f.c)
	if err != nil {
		return nil
	}
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	store, err := cache.Open(dir, progress.Discard{})
	if err != nil {
		return nil
	}
	known, _ := oci.Known(store)
	return known
}
