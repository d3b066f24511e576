package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/progress"
	"hookbuild/kernel"
	"hookbuild/kernel/container"
	"hookbuild/kernel/deliver"
	"hookbuild/kernel/driver"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/modules"
	"hookbuild/kernel/plan"
	"hookbuild/kernel/source"
)

func newKernelCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "kernel",
		Aliases:   []string{"kernel-build", "build-kernel"},
		Usage:     "compile a flavor's kernel in a container, or fetch Armbian's",
		ArgsUsage: "[FLAVOR]",
		Flags: concat(sourceFlags(), optionFlags(), builderFlags(), moduleFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "force", Usage: "build even if Docker or the registry has the image"},
			&cli.BoolFlag{Name: "push", Usage: "push the image to its registry"},
			&cli.StringFlag{Name: "export", Usage: "write the image to `PATH`: an OCI layout, or a docker archive when it ends in .tar or .tar.gz"},
			&cli.BoolFlag{Name: "no-load", Usage: "do not put the image into the local Docker"},
			&cli.BoolFlag{Name: "lock", Usage: "build nothing; pin the newest release of the series, or that of --kernel-version, in " + plan.LockFile},
		}, lockFlags()),
		Action: func(c *cli.Context) error {
			return a.eachBuild(c, a.kernel)
		},
	}
}

// sourceFlags returns the flags that choose the source.
func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "kernel-version", Usage: "build point release `N`, such as 32 or 6.6.32 (default: $KERNEL_POINT_RELEASE, else the one in kernel/versions.lock, else the newest)"},
		&cli.StringFlag{Name: "source", Usage: "take the source from `FILE|DIR|URL` instead of kernel.org"},
		&cli.StringFlag{Name: "sha256", Usage: "require the checksum `HEX` of the file of --source"},
		&cli.BoolFlag{Name: "accept-lost", Usage: "accept a source of another series, or one that lacks options of the flavor's configuration"},
		&cli.StringSliceFlag{Name: "patch", Usage: "apply the patch in `FILE` to the source (repeatable, in order)"},
		&cli.StringSliceFlag{Name: "source-mirror", Usage: "fetch from the copy of kernel.org's pub/linux/kernel at `URL` (repeatable)"},
	}
}

// optionFlags returns the flags that change the configuration.
func optionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "set", Usage: "set `CONFIG_X=VALUE` in the kernel configuration, with VALUE y, m, n or text (repeatable)"},
		&cli.StringSliceFlag{Name: "fragment", Usage: "merge the kernel options in `FILE` (repeatable)"},
	}
}

// builderFlags returns the flags that choose the container that compiles.
func builderFlags() []cli.Flag {
	return []cli.Flag{
		builderFlag(),
		&cli.StringFlag{Name: "builder-image", Usage: "compile in the image `REF` (default: one that hookbuild builds)"},
		&cli.StringFlag{Name: "builder-base", Value: "debian:stable", Usage: "build the builder image from the Debian image `REF`"},
		&cli.StringFlag{Name: "builder-network", Usage: "build the builder image in Docker network `NAME`, such as host"},
	}
}

// builderFlag returns the flag that chooses Docker Engines.
func builderFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "builder", Usage: "compile kernels, and build containers, on `[ARCH=]ENGINE`, a Docker Engine's address (ssh://USER@HOST, tcp://HOST:PORT) or context; ARCH is amd64 or arm64, that of the result (repeatable)"}
}

func moduleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "modules", Usage: "keep only the modules that match `PATTERN`, and those they need (repeatable)"},
		&cli.StringSliceFlag{Name: "without-modules", Usage: "leave out the modules that match `PATTERN` (repeatable)"},
		&cli.GenericFlag{Name: "module-source", Value: &texts{}, Usage: "build and add the modules of `SOURCE`: a directory, archive, -dkms package or URL[#sha256=HEX], then ,name=NAME ,dir=DIR ,sha256=HEX ,make=ARG ,patch=FILE as needed (repeatable)"},
		noStripFlag(),
		&cli.StringFlag{Name: "firmware", Usage: "add the firmware that the modules ask for from `DIR` or image:REF"},
	}
}

func noStripFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-strip", Usage: "keep the modules' debugging symbols"}
}

func (a *app) kernel(c *cli.Context) error {
	f, err := a.kernelFlavorOf(c)
	if err != nil {
		return err
	}
	o, err := a.openOptions(c, f)
	if err != nil {
		return err
	}
	if f.Method == flavor.Armbian && !c.Bool("lock") {
		if err := a.checkReadyMade(c, f); err != nil {
			return err
		}
	}
	if c.Bool("lock") {
		if a.locked != nil {
			return usagef("--lock looks for a release to pin, and --locked takes what is locked; use one of them")
		}
		return a.lockKernel(c, o.Plan)
	}
	if a.locked != nil {
		b, err := a.newBuilder(c)
		if err != nil {
			return err
		}
		if o, err = b.LockedKernel(c.Context, o, a.lockNames(c), *a.locked); err != nil {
			return err
		}
	}
	to := a.deliverOptions(c, o)
	o.Fresh = to.Force
	ref, err := kernel.Make(c.Context, o, to)
	if err != nil {
		return err
	}
	if toDocker := !to.NoLoad && !to.Push && to.Export == "" && to.ExportDir == ""; toDocker && a.locked == nil {
		form := "image" // a published image is not put into Docker
		if deliver.InDocker(c.Context, ref) {
			form = "daemon"
		}
		a.note("`hookbuild all` builds with this kernel if it has --kernel %s:%s", form, ref)
	}
	_, err = fmt.Fprintln(a.results(), ref)
	return err
}

// deliverOptions returns where the flags say to deliver the kernel image.
func (a *app) deliverOptions(c *cli.Context, k kernel.OpenOptions) deliver.Options {
	o := deliver.Options{
		NoLoad: c.Bool("no-load"), Push: c.Bool("push") || truth(a.variable("DO_PUSH")), Export: c.String("export"),
		Force:   c.Bool("force") || truth(a.variable("FORCE_BUILD_KERNEL")),
		Offline: c.Bool("offline"), Insecure: c.StringSlice("insecure-registry"), Progress: a.sink(),
		Client: k.Client, Web: k.Web,
	}
	if truth(a.variable("EXPORT_KERNEL_IMAGE")) {
		o.ExportDir = orDefault(a.variablePath(c, "EXPORT_KERNEL_IMAGE_DIR"), os.TempDir())
	}
	return o
}

// kernelFlavorOf returns the flavor whose kernel is meant: the one that the
// command line names, or the one whose kernel that one uses.
func (a *app) kernelFlavorOf(c *cli.Context) (flavor.Flavor, error) {
	f, err := a.flavorOf(c)
	if err != nil {
		return f, err
	}
	k, err := a.kernelFlavor(c, f)
	if err != nil {
		return f, err
	}
	return *k, nil
}

// buildOnly returns the names of the flags that have no effect without a build.
func buildOnly() []string {
	names := []string{"force", "push", "export", "no-load", "patch"}
	for _, flag := range concat(optionFlags(), builderFlags(), moduleFlags()) {
		names = append(names, flag.Names()[0])
	}
	return names
}

// lockKernel pins a release and prints its line in the lock.
func (a *app) lockKernel(c *cli.Context, r plan.Request) error {
	if a.isFetched(c) {
		return usagef("--lock writes to the checkout, and %s has one fetched; set kernel.version there, or give --hook-dir DIR", a.site.Path)
	}
	for _, name := range buildOnly() {
		if c.IsSet(name) && !a.fromSite(name) {
			return usagef("--lock builds nothing; leave out --%s", name)
		}
	}
	locked, err := plan.LockRelease(c.Context, r)
	if err != nil {
		return err
	}
	switch {
	case locked.Old == nil:
		a.note("%s now pins Linux %s", locked.File, locked.New.Version)
	case *locked.Old == locked.New:
		a.note("%s still pins Linux %s", locked.File, locked.New.Version)
	default:
		a.note("%s now pins Linux %s instead of %s", locked.File, locked.New.Version, locked.Old.Version)
	}
	_, err = fmt.Fprintln(a.results(), locked.New)
	return err
}

func (a *app) kernelOptions(c *cli.Context) (kernel.Options, error) {
	store, err := a.openCache(c)
	if err != nil {
		return kernel.Options{}, err
	}
	client, err := a.webClient(c)
	return kernel.Options{Cache: store, Web: client, Offline: c.Bool("offline"), Jobs: c.Int("jobs"), Progress: a.sink()}, err
}

// openOptions returns the options for a flavor's kernel from the flags and
// build.sh's variables.
func (a *app) openOptions(c *cli.Context, f flavor.Flavor) (o kernel.OpenOptions, err error) {
	if o.Options, err = a.kernelOptions(c); err != nil {
		return o, err
	}
	if o.Client, err = a.newClient(c, o.Cache); err != nil {
		return o, err
	}
	if o.Plan, err = a.kernelRequest(c, f); err != nil {
		return o, err
	}
	if o.Container, err = a.containerOptions(c, f.Arch); err != nil {
		return o, err
	}
	if o.Drivers, err = moduleSources(c); err != nil {
		return o, err
	}
	if o.Time, err = a.sourceDate(); err != nil {
		return o, err
	}
	o.Arch = f.Arch
	o.Armbian = kernel.Armbian{Base: a.variable("ARMBIAN_BASE_ORAS_REF"), Version: a.variable("ARMBIAN_KERNEL_VERSION")}
	dir, err := a.kernelDir(c)
	o.Built = filepath.Join(dir, "built")
	return o, err
}

// kernelRequest returns how the flags say to build the kernel. Armbian's kernels
// need no checkout.
func (a *app) kernelRequest(c *cli.Context, f flavor.Flavor) (plan.Request, error) {
	if err := a.checkNamed(c); err != nil {
		return plan.Request{}, err
	}
	workspace, err := a.workspace(c)
	if err != nil && (f.Method != flavor.Armbian || a.wantsCheckout(c)) {
		return plan.Request{}, err
	}
	dir, err := a.kernelDir(c)
	if err != nil {
		return plan.Request{}, err
	}
	r := modulePlan(c)
	r.Flavor, r.HookDir, r.Repository = f, workspace.Dir, a.variable("HOOK_KERNEL_OCI_BASE")
	if r.PointRelease, err = pointRelease(f, a.flagOr(c, "kernel-version", "KERNEL_POINT_RELEASE"), a.origin(c, "kernel-version", "KERNEL_POINT_RELEASE")); err != nil {
		return plan.Request{}, err
	}
	r.Source, r.SHA256, r.AcceptLost = c.String("source"), c.String("sha256"), c.Bool("accept-lost")
	r.Fragments, r.Sets, r.Patches = c.StringSlice("fragment"), c.StringSlice("set"), c.StringSlice("patch")
	if err := a.warnOfDoubts(r); err != nil {
		return plan.Request{}, err
	}
	client, err := a.webClient(c)
	r.Download = source.Options{
		Web: client,
		Dir: filepath.Join(dir, "source"), Mirrors: c.StringSlice("source-mirror"),
		Offline: c.Bool("offline"), Progress: a.sink(),
	}
	return r, err
}

// warnOfDoubts warns of options of --set that seem misspelt. They are no error, because
// the kernel's source may have them.
func (a *app) warnOfDoubts(r plan.Request) error {
	if r.Flavor.Method != flavor.Source {
		return nil // what is made of the request says why options do not apply
	}
	doubts, err := r.Doubts()
	for _, doubt := range doubts {
		progress.Warnf(a.sink(), "%s", doubt)
	}
	return err
}

// texts collects the values of a flag that is given several times. Unlike those
// of [cli.StringSliceFlag], a value may contain commas.
type texts struct{ all []string }

// Set implements [cli.Generic].
func (t *texts) Set(value string) error {
	t.all = append(t.all, value)
	return nil
}

// String implements [cli.Generic].
func (t *texts) String() string { return strings.Join(t.all, " ") }

// Get implements [flag.Getter].
func (t *texts) Get() any { return t.all }

// moduleSources returns the sources that --module-source names.
func moduleSources(c *cli.Context) ([]driver.Spec, error) {
	given, ok := c.Value("module-source").([]string)
	if !ok {
		return nil, nil // the command does not have the flag
	}
	var all []driver.Spec
	for _, text := range given {
		s, err := driver.ParseSpec(text)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// modulePlan returns which modules and firmware the flags choose, for any kernel.
func modulePlan(c *cli.Context) plan.Request {
	return plan.Request{
		Modules: modules.Choice{Include: c.StringSlice("modules"), Exclude: c.StringSlice("without-modules")},
		Strip:   !c.Bool("no-strip"), Firmware: c.String("firmware"),
	}
}

// kernelDir returns the directory for sources, logs and compiled kernels.
func (a *app) kernelDir(c *cli.Context) (string, error) {
	dir, err := a.cacheDir(c)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "kernel"), nil
}

// builderFor returns the Docker Engine that builds for an architecture, by either of
// its names; "" means the usual one. An engine that is named for the architecture
// is preferred to one for all.
func builderFor(c *cli.Context, arch string) (string, error) {
	engine, own := "", false
	for _, text := range c.StringSlice("builder") {
		of, name, err := parseBuilder(text)
		if err != nil {
			return "", err
		}
		if of == kernel.DockerArch(arch) || of == "" && !own {
			engine, own = name, of != ""
		}
	}
	return engine, nil
}

// parseBuilder reads a --builder: a Docker Engine and the architecture that it is
// for, "" for all.
func parseBuilder(text string) (arch, engine string, err error) {
	arch, engine, found := strings.Cut(text, "=")
	switch {
	case !found:
		arch, engine = "", text
	case arch != "amd64" && arch != "arm64":
		return "", "", usagef("--builder %q: the architecture before = must be amd64 or arm64", text)
	}
	if engine == "" {
		return "", "", usagef("--builder %q names no Docker Engine; use an address (ssh://USER@HOST, tcp://HOST:PORT) or a context", text)
	}
	return arch, engine, nil
}

// containerOptions returns how the flags say to make the container that compiles
// kernels for an architecture ("x86_64").
func (a *app) containerOptions(c *cli.Context, arch string) (container.Options, error) {
	engine, err := builderFor(c, arch)
	if err != nil {
		return container.Options{}, err
	}
	dir, err := a.kernelDir(c)
	jobs := 0 // the engine may have another number of cores than this machine
	if c.IsSet("jobs") {
		jobs = c.Int("jobs")
	}
	return container.Options{
		Engine: engine,
		Image:  c.String("builder-image"), Base: c.String("builder-base"), Network: c.String("builder-network"),
		Jobs: jobs, LogDir: filepath.Join(dir, "logs"), Progress: a.sink(),
	}, err
}

// sourceDate returns SOURCE_DATE_EPOCH, or the zero time if it is not set.
func (a *app) sourceDate() (time.Time, error) {
	text := a.variable("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, usagef("SOURCE_DATE_EPOCH is %q, not a number of seconds since 1970", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// pointRelease returns N of "N" or "SERIES.N", and "" for a kernel that is not built.
// Origin is what sets it.
func pointRelease(f flavor.Flavor, text, origin string) (string, error) {
	if f.Method != flavor.Source {
		return "", nil
	}
	n := strings.TrimPrefix(text, f.Series+".")
	if strings.Trim(n, "0123456789") != "" {
		return "", usagef("%s: %s has Linux %s; write it as %s.32 or 32", origin, f.ID, f.Series, f.Series)
	}
	return n, nil
}
