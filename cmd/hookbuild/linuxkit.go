package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/cmd/hookbuild/face"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/kernel/flavor"
	"hookbuild/linuxkit/size"
	"hookbuild/site"
	"hookbuild/site/profile"
)

func newLinuxKitCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "linuxkit",
		Aliases:     []string{"build"},
		Usage:       "build vmlinuz and initramfs without action images",
		Description: "The root file system is that of the checkout's template or, with --yaml, of any LinuxKit document.",
		ArgsUsage:   "[FLAVOR]",
		Flags:       concat(documentFlags(), hookFlags(), buildKernelFlags(), compressionFlags(), outputFlags(), overlayFlags(), lockFlags()),
		Action: func(c *cli.Context) error {
			a.warnNotEmbedded(c)
			return a.eachBuild(c, func(c *cli.Context) error {
				return a.buildHookOS(c, func(*build.Request) error { return nil })
			})
		},
	}
}

// warnNotEmbedded warns of images that hookbuild.yaml embeds and this command does not.
func (a *app) warnNotEmbedded(c *cli.Context) {
	if a.site == nil || c.IsSet("yaml") {
		return
	}
	for _, s := range a.site.settings {
		if strings.HasPrefix(s.Key, "embed.") {
			progress.Warnf(a.sink(), "%s:%d: `hookbuild %s` embeds no images; `hookbuild all` embeds those of the section embed", a.site.Path, s.Line, a.typedCommand)
			return
		}
	}
}

// documentTarget returns the request for the system that a LinuxKit document
// describes.
func (a *app) documentTarget(c *cli.Context) (r build.Request, err error) {
	if c.NArg() > 0 && a.locked == nil || c.IsSet("template") {
		return r, usagef("--yaml %s describes the whole system; leave out the flavor and --template", strings.Join(c.StringSlice("yaml"), " "))
	}
	if kernel := c.String("kernel"); kernel == "latest" || kernel == "build" {
		return r, usagef("--kernel %s names a flavor's kernel, and --yaml has no flavor; leave it out for the document's kernel, or use image:REF, deb:FILE or dir:DIR", kernel)
	}
	if err := refuseBuildFlags(c, "--yaml builds no kernel; use --kernel with image:REF, deb:FILE or dir:DIR"); err != nil {
		return r, err
	}
	if choosesModules(c) && !c.IsSet("kernel") {
		return r, usagef("--modules, --without-modules, --module-source and --firmware apply only to a kernel named by --kernel; the document's own is used unchanged")
	}
	arch, err := a.dockerArch(c)
	if err != nil {
		return r, err
	}
	r.Kernel = c.String("kernel")
	if r.Documents, err = a.readDocuments(c.StringSlice("yaml")); err != nil {
		return r, err
	}
	if r.Name, err = documentName(c); err != nil {
		return r, err
	}
	r.Flavor = flavor.Flavor{ID: r.Name, Arch: flavor.X86_64}
	if arch == "arm64" {
		r.Flavor.Arch = flavor.AArch64
	}
	r.OutputID = orDefault(a.variable("FORCE_OUTPUT_ID"), r.Flavor.Arch)
	r.KernelOptions.Plan = modulePlan(c)
	if r.KernelOptions.Drivers, err = moduleSources(c); err != nil {
		return r, err
	}
	r.KernelOptions.Container, err = a.containerOptions(c, r.Flavor.Arch)
	return r, err
}

// readOverlays reads the files of --overlay.
func (a *app) readOverlays(c *cli.Context) ([]build.Document, error) {
	var all []build.Document
	for i, file := range c.StringSlice("overlay") {
		if file == "-" && slices.Contains(c.StringSlice("yaml"), "-") || slices.Contains(c.StringSlice("overlay")[:i], file) {
			return nil, usagef("--overlay %s: %s is read once; name it once", file, file)
		}
		overlay, err := a.readDocument(file)
		if err != nil {
			return nil, err
		}
		if overlay.Dir, err = filepath.Abs(filepath.Dir(file)); err != nil {
			return nil, fmt.Errorf("finding the directory of the overlay %q: %w", file, err)
		}
		all = append(all, overlay)
	}
	return all, nil
}

// siteProfile reads the file of --site, else the section of hookbuild.yaml. Without
// both it returns nil.
func (a *app) siteProfile(c *cli.Context) (*profile.Site, error) {
	name := c.String("site")
	moved, err := a.moved(c)
	if err != nil {
		return nil, err
	}
	in := profile.Inputs{Name: name, Dir: filepath.Dir(name), Moved: moved, Getenv: a.getenv, Now: time.Now()}
	switch {
	case name != "":
	case a.site != nil && a.site.SiteLine("") > 0:
		in.Name, in.Dir, in.Line = a.site.Path, a.site.Dir, a.site.SiteLine
		if a.site.kept {
			in.Secrets = "."
		}
		return a.site.Site.Load(in)
	default:
		return nil, nil //nolint:nilnil // a site is optional
	}
	if slices.Contains(slices.Collect(maps.Values(in.Moved)), name) {
		in.Secrets = "."
	}
	p, lines, err := site.ReadProfile(name)
	if err != nil {
		return nil, err
	}
	in.Line = lines.Of
	return p.Load(in)
}

// readDocuments reads the files; "-" is standard input.
func (a *app) readDocuments(files []string) ([]build.Document, error) {
	var all []build.Document
	for _, file := range files {
		document, err := a.readDocument(file)
		if err != nil {
			return nil, err
		}
		all = append(all, document)
	}
	return all, nil
}

func (a *app) readDocument(file string) (build.Document, error) {
	if file == "-" {
		return build.ReadDocument(a.stdin, "standard input")
	}
	f, err := os.Open(file)
	if err != nil {
		return build.Document{}, fault.Invalidf("reading the LinuxKit document: %w", err)
	}
	defer f.Close() // only read
	return build.ReadDocument(f, file)
}

// fileName reports whether text can be a file's name or the end of one.
func fileName(text string) bool {
	return text != "" && !strings.HasPrefix(text, ".") && !strings.ContainsAny(text, "/\x00\n")
}

// documentName returns --name, or else the last file's name up to its first dot.
func documentName(c *cli.Context) (string, error) {
	name := c.String("name")
	if name == "" {
		files := c.StringSlice("yaml")
		name, _, _ = strings.Cut(filepath.Base(files[len(files)-1]), ".")
		if files[len(files)-1] == "-" {
			name = "moby" // as the linuxkit tool calls it
		}
	}
	if !fileName(name) {
		return "", usagef("%q cannot name a directory of artifacts; add a --name without slashes or a leading dot", name)
	}
	return name, nil
}

// outputs sets the artifacts that the flags and build.sh's variables ask for.
func (a *app) outputs(c *cli.Context, r *build.Request) (err error) {
	if !fileName(r.OutputID) {
		return usagef("FORCE_OUTPUT_ID %q cannot be part of a file's name; leave out slashes and a leading dot", r.OutputID)
	}
	r.Tar = c.Bool("tar") || truth(a.variable("OUTPUT_TARBALL_FILELIST"))
	loader := c.String("iso-loader")
	if c.Bool("iso") || a.switchedOn("LINUXKIT_ISO") {
		r.ISO = &build.ISO{Loader: loader}
	} else if loader != "" {
		return usagef("--iso-loader %q applies to an ISO image; add --iso", loader)
	}
	r.NoSBOM = c.Bool("no-sbom")
	if limit := c.String("max-size"); limit != "" {
		if r.MaxSize, err = size.Parse(limit); err != nil {
			return usagef("--max-size: %v", err)
		}
	}
	return nil
}

// noteReport shows the report, one note a line.
func (a *app) noteReport(r *size.Report) {
	for line := range strings.Lines(r.Text(max(0, face.Columns(a.stderr)-1))) { // the face leaves a column free
		a.note("%s", strings.TrimRight(line, "\n"))
	}
}
