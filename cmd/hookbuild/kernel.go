package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/internal/dockerhost"
	"hookbuild/kernel"
	"hookbuild/kernel/builder"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/kbuild"
	"hookbuild/kernel/modules"
	"hookbuild/kernel/source"
)

func newKernelCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "kernel",
		Aliases:   []string{"kernel-build", "build-kernel"},
		Usage:     "compile a flavor's kernel in a container, or fetch a ready-made one, as a kernel image",
		ArgsUsage: "[FLAVOR]",
		Flags: concat(sourceFlags(), optionFlags(), builderFlags(), moduleFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "force", Usage: "build even when Docker or the registry has the image"},
			&cli.BoolFlag{Name: "push", Usage: "push the image to its registry"},
			&cli.StringFlag{Name: "export", Usage: "write the image to `PATH`: an OCI layout, or a docker archive when it ends in .tar or .tar.gz"},
			&cli.BoolFlag{Name: "no-load", Usage: "do not put the image into the local Docker"},
			&cli.BoolFlag{Name: "lock", Usage: "build nothing, but pin the newest release of the series, or that of --kernel-version, in " + kbuild.LockFile},
		}),
		Action: a.kernel,
	}
}

// sourceFlags say what is compiled.
func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "kernel-version", Usage: "the point release, such as 32 of 6.6.32 (default: KERNEL_POINT_RELEASE, else the one of kernel/versions.lock, else the newest)"},
		&cli.StringFlag{Name: "source", Usage: "take the source from a `FILE|DIR|URL` in the place of kernel.org"},
		&cli.StringFlag{Name: "sha256", Usage: "the checksum that the file of --source must have"},
		&cli.StringSliceFlag{Name: "source-mirror", Usage: "a copy of kernel.org's pub/linux/kernel, a `URL` (repeatable)"},
	}
}

// optionFlags change the configuration.
func optionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "set", Usage: "switch an option, `CONFIG_X=y|m|n|TEXT` (repeatable)"},
		&cli.StringSliceFlag{Name: "fragment", Usage: "merge the options of `FILE` (repeatable)"},
	}
}

// builderFlags choose the container that compiles.
func builderFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "builder-image", Usage: "compile in the image `REF` (default: one that is built when it is missing)"},
		&cli.StringFlag{Name: "builder-base", Value: "debian:stable", Usage: "the Debian that the builder image is made of"},
		&cli.StringFlag{Name: "builder-network", Usage: "the Docker network to build that image in, such as host"},
	}
}

func moduleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "modules", Usage: "keep only the modules that `PATTERN` names, and what they need (repeatable)"},
		&cli.StringSliceFlag{Name: "without-modules", Usage: "leave out the modules that `PATTERN` names (repeatable)"},
		noStripFlag(),
		&cli.StringFlag{Name: "firmware", Usage: "add the firmware that the modules ask for from a `DIR` or image:REF"},
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
	o, err := a.kernelOptions(c)
	if err != nil {
		return err
	}
	if f.Method == flavor.Armbian && !c.Bool("lock") {
		return a.armbianKernel(c, f, o)
	}
	request, err := a.kernelRequest(c, f)
	if err != nil {
		return err
	}
	if c.Bool("lock") {
		return a.lockKernel(c, request)
	}
	plan, err := kbuild.Resolve(c.Context, request)
	if err != nil {
		return err
	}
	produce := func() (*kernel.Image, error) { return a.compile(c, plan, o) }
	if !plan.Certain() {
		return a.makeKernel(c, plan.Reference, produce)
	}
	return a.deliver(c, f, plan.Reference, o, produce)
}

// kernelFlavorOf finds the flavor whose kernel is meant: the one that the
// command line names, or the one whose kernel that takes.
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

// buildOnly names the flags that mean nothing where nothing is built.
func buildOnly() []string {
	names := []string{"force", "push", "export", "no-load"}
	for _, flag := range concat(optionFlags(), builderFlags(), moduleFlags()) {
		names = append(names, flag.Names()[0])
	}
	return names
}

// lockKernel pins a release and prints its line of the lock.
func (a *app) lockKernel(c *cli.Context, r kbuild.Request) error {
	for _, name := range buildOnly() {
		if c.IsSet(name) {
			return usagef("--lock builds nothing: leave --%s out", name)
		}
	}
	locked, err := kbuild.LockRelease(c.Context, r)
	if err != nil {
		return err
	}
	switch {
	case locked.Old == nil:
		a.note("%s pins Linux %s now", locked.File, locked.New.Version)
	case *locked.Old == locked.New:
		a.note("%s pins Linux %s as before", locked.File, locked.New.Version)
	default:
		a.note("%s pins Linux %s now, before it was %s", locked.File, locked.New.Version, locked.Old.Version)
	}
	_, err = fmt.Fprintln(a.results(), locked.New)
	return err
}

// deliver puts the kernel image ref where the flags say. What is there already
// is taken; otherwise produce gives it.
func (a *app) deliver(c *cli.Context, f flavor.Flavor, ref string, o kernel.Options, produce func() (*kernel.Image, error)) error {
	found, err := a.findKernel(c, ref)
	if err != nil {
		return err
	}
	if found != "" && a.exportPath(c, ref) == "" {
		_, err = fmt.Fprintln(a.results(), ref)
		return err
	}
	if found != "" {
		produce = func() (*kernel.Image, error) { return a.readKernel(c, f, found, o) }
	}
	return a.makeKernel(c, ref, produce)
}

// makeKernel has the kernel image produced and puts it where the flags say.
func (a *app) makeKernel(c *cli.Context, ref string, produce func() (*kernel.Image, error)) error {
	image, err := produce()
	if err != nil {
		return err
	}
	return errors.Join(a.publishKernel(c, image, ref), image.Close())
}

func (a *app) readKernel(c *cli.Context, f flavor.Flavor, source string, o kernel.Options) (*kernel.Image, error) {
	client, err := a.newClient(c, o.Cache)
	if err != nil {
		return nil, err
	}
	image, err := client.Image(c.Context, source, v1.Platform{OS: "linux", Architecture: f.DockerArch()})
	if err != nil {
		return nil, err
	}
	return kernel.FromOCI(c.Context, image, o)
}

func (a *app) kernelOptions(c *cli.Context) (kernel.Options, error) {
	store, err := a.openCache(c)
	return kernel.Options{Cache: store, Offline: c.Bool("offline"), Jobs: c.Int("jobs"), Progress: a.sink()}, err
}

// kernelRequest gathers what the flags and build.sh's variables say.
func (a *app) kernelRequest(c *cli.Context, f flavor.Flavor) (kbuild.Request, error) {
	workspace, err := build.OpenWorkspace(c.String("hook-dir"), ".")
	if err != nil {
		return kbuild.Request{}, err
	}
	dir, err := a.kernelDir(c)
	return kbuild.Request{
		Flavor: f, HookDir: workspace.Dir, Repository: a.variable("HOOK_KERNEL_OCI_BASE"),
		PointRelease: a.flagOr(c, "kernel-version", "KERNEL_POINT_RELEASE"),
		Source:       c.String("source"), SHA256: c.String("sha256"),
		Fragments: c.StringSlice("fragment"), Sets: c.StringSlice("set"),
		Modules: modules.Choice{Include: c.StringSlice("modules"), Exclude: c.StringSlice("without-modules")},
		Strip:   !c.Bool("no-strip"), FirmwareID: c.String("firmware"),
		Download: source.Options{
			Dir: filepath.Join(dir, "source"), Mirrors: c.StringSlice("source-mirror"),
			Offline: c.Bool("offline"), Progress: a.sink(),
		},
	}, err
}

// kernelDir keeps sources, logs and compiled kernels.
func (a *app) kernelDir(c *cli.Context) (string, error) {
	dir := a.flagOr(c, "cache-dir", "CACHE_DIR")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("finding the cache directory: %w; give --cache-dir DIR", err)
		}
		dir = filepath.Join(base, "hookbuild")
	}
	return filepath.Join(dir, "kernel"), nil
}

// findKernel looks for the image where it would be put, and gives it as a
// source for oci.Client; "" when it is to be built.
func (a *app) findKernel(c *cli.Context, ref string) (string, error) {
	if c.Bool("force") || truth(a.variable("FORCE_BUILD_KERNEL")) {
		return "", nil
	}
	has, where, err := a.hasKernel(c, ref)
	if err != nil || !has {
		return "", err
	}
	a.note("%s has %s already; --force builds it again", where, ref)
	if where == inDocker {
		return "daemon:" + ref, nil
	}
	return ref, nil
}

// inDocker is where hasKernel found an image that the local Docker has.
const inDocker = "Docker"

func (a *app) hasKernel(c *cli.Context, ref string) (has bool, where string, err error) {
	if !a.pushes(c) && !c.Bool("no-load") {
		docker, err := dockerhost.Connect(c.Context)
		if err == nil {
			has, err = kernel.DockerHas(c.Context, docker, ref)
			err = errors.Join(err, docker.Close())
			if has || err != nil {
				return has, inDocker, err
			}
		}
	}
	if c.Bool("offline") {
		return false, "", nil
	}
	has, err = a.kernelRegistry(c).Has(c.Context, ref)
	if err != nil && !a.pushes(c) {
		a.note("%v; building it", err)
		return false, "", nil
	}
	return has, "the registry", err
}

func (a *app) kernelRegistry(c *cli.Context) kernel.Registry {
	return kernel.Registry{Insecure: c.StringSlice("insecure-registry"), Progress: a.sink()}
}

// openBuilder connects to the Docker that compiles.
func (a *app) openBuilder(c *cli.Context) (*builder.Builder, error) {
	dir, err := a.kernelDir(c)
	if err != nil {
		return nil, err
	}
	jobs := 0 // the engine may have other cores than this machine
	if c.IsSet("jobs") {
		jobs = c.Int("jobs")
	}
	return builder.Open(c.Context, builder.Options{
		Image: c.String("builder-image"), Base: c.String("builder-base"), Network: c.String("builder-network"),
		Jobs: jobs, LogDir: filepath.Join(dir, "logs"), Progress: a.sink(),
	})
}

func (a *app) compile(c *cli.Context, plan *kbuild.Plan, o kernel.Options) (_ *kernel.Image, err error) {
	firmware, err := a.firmware(c, o)
	if err != nil {
		return nil, err
	}
	dir, err := a.kernelDir(c)
	if err != nil {
		return nil, err
	}
	b, err := a.openBuilder(c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	when, err := a.sourceDate()
	if err != nil {
		return nil, err
	}
	return plan.Build(c.Context, b, kbuild.BuildOptions{Dir: filepath.Join(dir, "built"), Time: when, Firmware: firmware, Kernel: o})
}
