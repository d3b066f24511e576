package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"hookbuild/build"
	"hookbuild/build/artifact"
	"hookbuild/build/onboard"
	"hookbuild/build/remaster"
	"hookbuild/embed"
	"hookbuild/internal/atomicfile"
	"hookbuild/internal/bounded"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/kernel/flavor"
)

func newEmbedCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "embed",
		Usage: "embed images into an existing HookOS, without Docker or root",
		Flags: concat(
			[]cli.Flag{
				&cli.StringFlag{Name: "initramfs", Usage: "embed into the initramfs at `FILE|URL`"},
				&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the new initramfs to `FILE`; - is standard output"},
				&cli.StringFlag{Name: "base", Usage: "embed into the HookOS in `DIR` and write its kernel, the new initramfs, checksums and manifest to --out"},
				&cli.StringFlag{Name: "vmlinuz", Usage: "the kernel `FILE` that boots the initramfs (default: the vmlinuz next to it)"},
				noSBOMFlag(),
				&cli.BoolFlag{Name: "from-bundle", Aliases: []string{"embed-from-bundle"}, Usage: "embed the action images of an EKS Anywhere bundle"},
				&cli.BoolFlag{Name: "keep-embedded", Usage: "keep the images that are embedded already (default: replace them)"},
				&cli.StringFlag{Name: "list", Usage: "only list the images embedded in the initramfs at `FILE|DIR|URL`; DIR is that of a HookOS"},
			},
			bundleFlags(), imageFlags(), layoutFlags(), compressionFlags(), lockFlags(),
		),
		ArgsUsage: "[FLAVOR]",
		Action: func(c *cli.Context) error {
			if !c.Bool("locked") && c.NArg() > 0 {
				return usagef("%q: %s takes no arguments; name images with --image", c.Args().First(), a.command())
			}
			return a.eachLocked(c, a.embed)
		},
	}
}

func (a *app) embed(c *cli.Context) error {
	started := time.Now()
	if c.IsSet("list") {
		return a.listEmbedded(c, c.String("list"))
	}
	if c.IsSet("base") {
		return a.embedWhole(c, started)
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return err
	}
	r, err := a.embedInto(c)
	if err != nil {
		return err
	}
	to := a.output(c)
	if b, err = a.lockedImages(c, b, &r.Wanted); err != nil {
		return err
	}
	memory, err := b.Editor().Embed(c.Context, r, to)
	if err != nil {
		return err
	}
	a.noteMemory(memory)
	a.warnStale(to.Path)
	a.note("done in %s", time.Since(started).Round(time.Millisecond))
	return a.printOutput(to)
}

// warnStale warns of a list of checksums that has the file that was replaced.
func (a *app) warnStale(path string) {
	list := filepath.Join(filepath.Dir(path), artifact.ChecksumsFile)
	text, err := bounded.ReadFile(list, bounded.Small)
	if err == nil && strings.Contains(string(text), "  "+filepath.Base(path)+"\n") {
		progress.Warnf(a.sink(), "%s and %s describe the file that was replaced; with --base DIR --out DIR, embed writes them too", list, artifact.ManifestFile)
	}
}

// embedWhole adds images to the HookOS of --base and publishes it in --out.
func (a *app) embedWhole(c *cli.Context, started time.Time) error {
	for _, name := range []string{"initramfs", "vmlinuz", "output"} {
		if c.IsSet(name) {
			return usagef("--base %s names both files and --out the destination; leave out --%s", c.String("base"), name)
		}
	}
	w := remaster.Whole{Base: c.String("base"), Out: c.String("out"), Request: remaster.Request{Keep: c.Bool("keep-embedded")}}
	if err := artifact.CheckOut(w.Out); err != nil {
		return err
	}
	arch, err := a.dockerArch(c)
	if err != nil {
		return err
	}
	if a.locked != nil {
		arch = a.locked.Arch
	}
	w.Arch = map[string]string{"amd64": flavor.X86_64, "arm64": flavor.AArch64}[arch]
	if _, err := remaster.FindPair(w.Base, w.Arch, ""); err != nil {
		return fmt.Errorf("--base: %w", err)
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return err
	}
	if err := a.images(c, &w.Request); err != nil {
		return err
	}
	if a.locked != nil {
		w.Request.DockerArch = map[string]string{flavor.X86_64: "amd64", flavor.AArch64: "arm64"}[w.Arch]
	}
	if b, err = a.lockedImages(c, b, &w.Request.Wanted); err != nil {
		return err
	}
	if !c.Bool("no-sbom") {
		w.About = b.About
	}
	result, err := b.Editor().EmbedWhole(c.Context, w)
	if err != nil {
		return err
	}
	a.noteMemory(result.Memory)
	return a.printResult(result.Published, time.Since(started))
}

// output returns the destination that -o names.
func (a *app) output(c *cli.Context) atomicfile.Target {
	return atomicfile.Target{Path: c.String("output"), Stdout: a.stdout}
}

// checkBinaryOutput checks the destination that -o names for what no terminal shows.
func (a *app) checkBinaryOutput(c *cli.Context) error {
	to := a.output(c)
	if f, isFile := a.stdout.(*os.File); isFile && to.IsStdout() && term.IsTerminal(int(f.Fd())) {
		return usagef("standard output is a terminal; name a file with -o FILE, or pipe the output")
	}
	return to.Check()
}

// printOutput prints the path of a file that was written. It prints nothing for a
// device or a pipe, which gets only the result itself.
func (a *app) printOutput(to atomicfile.Target) error {
	if path, err := to.Resolve(); err != nil || path == "" {
		return err
	}
	_, err := fmt.Fprintln(a.results(), to.Path)
	return err
}

// embedInto returns the request to embed into --initramfs.
func (a *app) embedInto(c *cli.Context) (r remaster.Request, err error) {
	r = remaster.Request{Initramfs: c.String("initramfs"), Vmlinuz: c.String("vmlinuz"), Keep: c.Bool("keep-embedded")}
	if r.Initramfs == "" || c.String("output") == "" {
		return r, usagef("name the initramfs to read and the one to write (--initramfs IN -o OUT), or a HookOS to start from (--base DIR)")
	}
	if err := a.checkBinaryOutput(c); err != nil {
		return r, err
	}
	if r.DockerArch, err = a.dockerArch(c); err != nil {
		return r, err
	}
	if r.DockerArch == "" {
		r.DockerArch = archInName(r.Initramfs)
	}
	if a.locked != nil {
		r.DockerArch = a.locked.Arch
	}
	return r, a.images(c, &r)
}

// lockedImages makes the images to embed those of the lock, and returns the builder
// that takes them.
func (a *app) lockedImages(c *cli.Context, b *build.Builder, w *onboard.Wanted) (*build.Builder, error) {
	if a.locked == nil {
		return b, nil
	}
	inputs, err := a.inputFiles(c)
	if err != nil {
		return b, err
	}
	return b.LockedImages(c.Context, w, build.Request{Names: a.lockNames(c), Inputs: inputs}, *a.locked)
}

// images adds the images to embed, and how to store them, to the request.
func (a *app) images(c *cli.Context, r *remaster.Request) (err error) {
	if r.Layout, r.Packing, err = layoutOf(c); err != nil {
		return err
	}
	if r.Segment, err = segmentOptions(c); err != nil {
		return err
	}
	r.Embed, err = a.embedRequest(c, c.Bool("from-bundle"))
	return err
}

// archInName returns the architecture in a HookOS file's name, or amd64 if the name
// has none.
func archInName(path string) string {
	if strings.Contains(path, "aarch64") || strings.Contains(path, "arm64") {
		return "arm64"
	}
	return "amd64"
}

// noteMemory reports the memory that a machine needs to boot the result.
func (a *app) noteMemory(m embed.Memory) {
	a.note("booting it takes about %s of RAM: its files take %s, must fit into a tmpfs of half the RAM, and are unpacked from the %s beside them",
		words.Bytes(m.Least), words.Bytes(m.Unpacked), words.Bytes(m.Compressed))
}

// listEmbedded prints the images in an initramfs: name, image ID, size.
func (a *app) listEmbedded(c *cli.Context, source string) error {
	b, err := a.newBuilder(c)
	if err != nil {
		return err
	}
	file, err := a.initramfsAt(c, source)
	if err != nil {
		return err
	}
	in, err := b.Editor().Open(c.Context, file)
	if err != nil {
		return err
	}
	defer in.Close() // only read
	store, err := in.Store()
	if err != nil {
		return err
	}
	if store == nil {
		a.note("%s has no embedded images", source)
		return nil
	}
	table := &words.Table{}
	for _, image := range store.Images() {
		for _, name := range append(image.Names, image.Digests...) {
			table.Row(name, image.ID.Hex[:12], words.Bytes(image.Size))
		}
	}
	return a.printTable(table)
}

// initramfsAt returns the initramfs that source names: itself, or the one in the
// directory of a HookOS.
func (a *app) initramfsAt(c *cli.Context, source string) (string, error) {
	arch, err := a.dockerArch(c)
	if err != nil {
		return "", err
	}
	files, err := a.expandDirectories(c.Context, []string{source}, arch)
	if err != nil {
		return "", err
	}
	return files[len(files)-1], nil
}

func newExtractImageCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "extract-image",
		Usage:       "write an embedded image as an archive for docker load",
		Description: "IN is an initramfs, or the directory of a HookOS. NAME is a name, the end of one such as cexec, or an image ID.",
		ArgsUsage:   "IN NAME",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: atomicfile.Stdout, Usage: "write to `FILE` (default: standard output)", DefaultText: "standard output"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return usagef("name an initramfs and an image: hookbuild extract-image IN NAME -o FILE; `hookbuild embed --list IN` shows the names")
			}
			to := a.output(c)
			if err := a.checkBinaryOutput(c); err != nil {
				return err
			}
			b, err := a.newBuilder(c)
			if err != nil {
				return err
			}
			in, err := a.initramfsAt(c, c.Args().First())
			if err != nil {
				return err
			}
			x, err := b.Editor().ExtractImage(c.Context, in, c.Args().Get(1), to)
			if err != nil {
				return err
			}
			for _, note := range x.Notes {
				a.note("%s", note)
			}
			return a.printOutput(to)
		},
	}
}
