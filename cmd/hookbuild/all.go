package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/embed"
	"hookbuild/kernel"
	"hookbuild/kernel/flavor"
)

func newAllCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "all",
		Usage:     "build vmlinuz and initramfs, with the action images embedded",
		ArgsUsage: "[FLAVOR]",
		Flags:     concat(allFlags(), lockFlags()),
		Action: func(c *cli.Context) error {
			return a.eachBuild(c, func(c *cli.Context) error {
				return a.buildHookOS(c, func(r *build.Request) error { return a.completeRequest(c, r) })
			})
		},
	}
}

// allFlags returns the flags that say what all builds.
func allFlags() []cli.Flag {
	return concat(
		[]cli.Flag{&cli.BoolFlag{Name: "embed-from-bundle", Usage: "embed the action images of an EKS Anywhere bundle"}},
		bundleFlags(), imageFlags(), layoutFlags(), hookFlags(), buildKernelFlags(), compressionFlags(), outputFlags(), overlayFlags(),
	)
}

// completeRequest adds the images to embed.
func (a *app) completeRequest(c *cli.Context, r *build.Request) (err error) {
	if r.Layout, r.Packing, err = layoutOf(c); err != nil {
		return err
	}
	if wantsImages(c) {
		r.Embed, err = a.embedRequest(c, c.Bool("embed-from-bundle"))
	}
	return err
}

// wantsImages reports whether a flag asks for embedded images.
func wantsImages(c *cli.Context) bool {
	for _, flag := range concat([]cli.Flag{&cli.BoolFlag{Name: "embed-from-bundle"}}, bundleFlags(), imageFlags()) {
		if c.IsSet(flag.Names()[0]) {
			return true
		}
	}
	return false
}

// dockerArch returns the architecture that --arch or DOCKER_ARCH names, or ""
// if neither is set.
func (a *app) dockerArch(c *cli.Context) (string, error) {
	arch := a.flagOr(c, "arch", "DOCKER_ARCH")
	switch arch { // as flavors and files are named
	case flavor.X86_64:
		arch = "amd64"
	case flavor.AArch64:
		arch = "arm64"
	}
	if arch != "" && arch != "amd64" && arch != "arm64" {
		return "", usagef("%s is neither amd64 nor arm64", a.origin(c, "arch", "DOCKER_ARCH"))
	}
	return arch, nil
}

// archGivesWay reports whether the architecture is only that of DOCKER_ARCH in the
// environment or hookbuild.yaml, which gives way to a flavor on the command line, as in
// build.sh.
func (a *app) archGivesWay(c *cli.Context) bool {
	return !c.IsSet("arch") && !a.isArgument("DOCKER_ARCH") && c.NArg() > 0
}

// quoted returns the arguments for a message, each in quotation marks.
func quoted(args []string) string {
	var all []string
	for _, arg := range args {
		all = append(all, strconv.Quote(arg))
	}
	return strings.Join(all, " ")
}

// flavorOf returns the flavor that the command line names, or the default one.
func (a *app) flavorOf(c *cli.Context) (flavor.Flavor, error) {
	arch, err := a.dockerArch(c)
	if err != nil {
		return flavor.Flavor{}, err
	}
	if c.NArg() > 1 && a.flavor == "" {
		return flavor.Flavor{}, usagef("%s: name one flavor; `hookbuild matrix` prints the jobs to build several", quoted(c.Args().Slice()))
	}
	id := orDefault(a.flavor, c.Args().First())
	if id == "" {
		id = a.siteFlavor()
	}
	byDefault := id == ""
	if byDefault {
		id = flavor.Default(orDefault(arch, "amd64"))
	}
	flavors, err := a.flavors(c)
	if err != nil {
		return flavor.Flavor{}, err
	}
	f, err := flavors.Find(id)
	if err != nil {
		return f, a.explainFlavor(c, err)
	}
	if byDefault && c.Command.Name != "run" { // which boots what is there, see built
		a.note("no flavor was named; using %s", f.ID)
	}
	switch {
	case arch == "" || f.DockerArch() == arch:
	case a.archGivesWay(c):
		a.note("%s does not apply: the flavor %s is for %s", a.assignment("DOCKER_ARCH"), f.ID, f.DockerArch())
	case !c.IsSet("arch"):
		return f, otherArch(flavors, f, a.assignment("DOCKER_ARCH"), arch)
	default:
		return f, otherArch(flavors, f, "--arch "+arch, arch)
	}
	return f, nil
}

// otherArch returns the error about a flavor of another architecture than that of
// --arch or DOCKER_ARCH, which said is.
func otherArch(flavors flavor.Inventory, f flavor.Flavor, said, arch string) error {
	name, _, _ := strings.Cut(said, " ")
	remedy := "leave out " + name + ", or name a flavor for " + arch + " (`hookbuild flavors` lists them)"
	if sibling, ok := flavors.Sibling(f); ok {
		remedy = "the one for " + arch + " is " + sibling.ID
	}
	return usagef("%s: the flavor %s is for %s; %s", said, f.ID, f.DockerArch(), remedy)
}

// flavors returns upstream's flavors and, if there is a checkout, its own.
// Fetching Armbian's kernels needs no checkout.
func (a *app) flavors(c *cli.Context) (flavor.Inventory, error) {
	workspace, err := a.workspace(c)
	switch {
	case err == nil:
		return flavor.Read(workspace.FS())
	case a.wantsCheckout(c) || errors.Is(err, fs.ErrPermission):
		return flavor.Inventory{}, err
	}
	return flavor.Upstream(), nil
}

func orDefault(s, value string) string {
	if s == "" {
		return value
	}
	return s
}

// request returns the request that the flags and build.sh's variables describe.
func (a *app) request(c *cli.Context) (r build.Request, err error) {
	if r, err = a.target(c); err != nil {
		return r, err
	}
	if r.Segment, err = segmentOptions(c); err != nil {
		return r, err
	}
	if r.SourceDate, err = a.sourceDate(); err != nil {
		return r, err
	}
	if r.Overlays, err = a.readOverlays(c); err != nil {
		return r, err
	}
	if r.Site, err = a.siteProfile(c); err != nil {
		return r, err
	}
	if off := a.noBuild(c); off != "" {
		r.NoBuildContainers, r.WhyNoBuild = true, "building is switched off by "+off+"; leave that out, or build it with `hookbuild containers` first"
	}
	r.Out, r.Locked = c.String("out"), a.locked
	if r.Inputs, err = a.inputFiles(c); err != nil {
		return r, err
	}
	r.Names = a.lockNames(c)
	if r.Moved, err = a.moved(c); err != nil {
		return r, err
	}
	if a.locked != nil && len(r.Documents) > 0 {
		r.WorkDir = filepath.Dir(a.lockFile(c))
	}
	return r, a.outputs(c, &r)
}

// target returns a request for the system to build: that of a document or of a
// checkout's flavor.
func (a *app) target(c *cli.Context) (build.Request, error) {
	if c.IsSet("yaml") {
		return a.documentTarget(c)
	}
	return a.flavorTarget(c)
}

func (a *app) flavorTarget(c *cli.Context) (r build.Request, err error) {
	if c.IsSet("name") {
		return r, usagef("--name %q names a document's artifacts; add --yaml FILE, or use FORCE_OUTPUT_ID for a flavor", c.String("name"))
	}
	if r.Flavor, err = a.flavorOf(c); err != nil {
		return r, err
	}
	if r.Workspace, err = a.workspace(c); err != nil {
		return r, err
	}
	if r.Kernel, r.KernelOptions, err = a.kernelChoice(c, r.Flavor); err != nil {
		return r, err
	}
	r.Template = c.String("template")
	r.ContainersBase = a.variable("HOOK_LK_CONTAINERS_OCI_BASE")
	if r.ContainersEngine, err = builderFor(c, r.Flavor.Arch); err != nil {
		return r, err
	}
	r.HookVersion = a.variable("HOOK_VERSION")
	named := r.Flavor
	named.UseKernelID = orDefault(a.variable("USE_KERNEL_ID"), named.UseKernelID)
	r.OutputID = named.OutputID(a.variable("FORCE_OUTPUT_ID"))
	return r, nil
}

// kernelFlavor returns the flavor whose kernel f uses: that of USE_KERNEL_ID,
// else the one that the inventory names, else f itself.
func (a *app) kernelFlavor(c *cli.Context, f flavor.Flavor) (*flavor.Flavor, error) {
	flavors, err := a.flavors(c)
	if err != nil {
		return nil, err
	}
	id := orDefault(a.variable("USE_KERNEL_ID"), orDefault(f.UseKernelID, f.ID))
	k, err := flavors.Find(id)
	if err != nil && a.variable("USE_KERNEL_ID") != "" {
		return nil, usagef("%s says whose kernel to use: %w", a.assignment("USE_KERNEL_ID"), err)
	}
	if err != nil {
		return nil, err
	}
	if k.Arch != f.Arch {
		return nil, usagef("%s: its kernel is for %s, and the flavor %s is for %s", a.assignment("USE_KERNEL_ID"), k.Arch, f.ID, f.Arch)
	}
	return &k, nil
}

// kernelChoice returns the reference of the kernel for a flavor, from --kernel, and
// the options to open it with. USE_LATEST_BUILT_KERNEL means "latest".
func (a *app) kernelChoice(c *cli.Context, f flavor.Flavor) (ref string, o kernel.OpenOptions, err error) {
	k, err := a.kernelFlavor(c, f)
	if err != nil {
		return "", o, err
	}
	if o, err = a.openOptions(c, *k); err != nil {
		return "", o, err
	}
	switch {
	case c.IsSet("kernel"):
		ref = c.String("kernel")
	case a.switchedOn("USE_LATEST_BUILT_KERNEL"):
		ref = "latest"
	}
	if err := kernel.CheckReference(ref, o); err != nil {
		return "", o, err
	}
	switch {
	case k.Method == flavor.Armbian && kernel.IsPlace(ref):
		err = refuseBuildFlags(c, "the kernel is "+ref+"; leave out the option")
	case k.Method == flavor.Armbian:
		if err = refuseBuildFlags(c, readyMade(*k)); err == nil {
			a.tellReadyMade(*k)
		}
	case ref != "build":
		err = refuseBuildFlags(c, "the kernel is "+orDefault(ref, "a published one")+"; add --kernel build")
	}
	return ref, o, err
}

// noBuild returns what says that containers must not be built, "" if nothing does.
func (a *app) noBuild(c *cli.Context) string {
	const option, variable = "no-build-containers", "DO_BUILD_LK_CONTAINERS"
	switch may := a.variable(variable); {
	case c.Bool(option) && a.fromSite(option):
		return a.site.applied[option].Key + " in " + a.site.Path
	case c.Bool(option):
		return "--" + option
	case may != "" && !truth(may):
		return a.assignment(variable)
	}
	return ""
}

// buildHookOS builds and publishes a HookOS and prints the artifacts' paths.
func (a *app) buildHookOS(c *cli.Context, complete func(*build.Request) error) error {
	started := time.Now()
	r, err := a.request(c)
	if err != nil {
		return err
	}
	if err := r.Check(c.Context); err != nil {
		return err
	}
	if err := complete(&r); err != nil {
		return err
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return err
	}
	result, err := b.HookOS(c.Context, r)
	if err != nil {
		return err
	}
	if c.Bool("report") {
		a.noteReport(result.Size)
	}
	if result.Size != nil { // a root file system alone does not boot
		a.noteMemory(embed.MemoryFor(result.Size.Compressed, result.Size.RAM))
	}
	return a.printResult(result.Published, time.Since(started))
}
