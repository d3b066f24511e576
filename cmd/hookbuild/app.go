package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/bundles"
	"hookbuild/cmd/hookbuild/face"
	"hookbuild/internal/cache"
	"hookbuild/internal/dockerhost"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/shared"
	"hookbuild/internal/web"
	"hookbuild/linuxkit/size"
	"hookbuild/site/checkout"
	"hookbuild/site/kit"
	"hookbuild/site/lock"
)

// environment is what a run uses of its process.
type environment struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// app holds what the commands share: streams, build.sh's variables, the face.
type app struct {
	environment
	names []string // of the command and its subcommand
	// typedCommand is the command as it is on the command line, which may be one of
	// its other names.
	typedCommand string
	options      []string          // on the command line, without dashes
	variables    map[string]string // KEY=VALUE arguments
	face         face.Face
	unwatch      func() bool      // ends the wait for a signal that openFace began
	warnings     warnings         // those shown so far
	store        *cache.Cache     // the one that the command opened last
	shared       *shared.Cache    // nil without --cache-from and --cache-to
	archives     oci.Archives     // of images, that were unpacked
	unshared     bool             // it was said that the shared cache is not used
	web          *web.Client      // nil until it is first asked for
	cluster      *bundles.Cluster // nil until it is first asked for
	site         *siteFile        // nil without a hookbuild.yaml
	checkout     *checkout.Checkout
	flavor       string      // of several, the one at hand
	wrote        bool        // artifacts were written
	locked       *lock.Build // nil without --locked
	kit          *kit.Kit    // nil until it is first asked for
	kept         *kit.Site   // what a kit has of files, nil without --locked
}

// exitInterrupted is the exit code after SIGINT, SIGTERM or SIGHUP.
const exitInterrupted = 130

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, env environment) int {
	a := &app{environment: env, variables: map[string]string{}}
	if len(args) > 0 && args[0] == completeCommand {
		return a.complete(ctx, args[1:])
	}
	root := newRootCommand(a)
	line, err := arrange(root, args)
	if err == nil {
		a.variables, a.names, a.typedCommand, a.options = line.variables, line.names, line.typed(), line.options
		err = checkVariables(line.typed(), line.variables)
	}
	switch {
	case err != nil:
	case line.help:
		err = writeHelp(env.stdout, root, line.names)
	default:
		err = root.RunContext(ctx, append([]string{"hookbuild"}, line.sorted...))
	}
	err = a.explain(err)
	if a.face != nil {
		err = errors.Join(err, a.face.Settle())
	}
	if a.unwatch != nil {
		a.unwatch()
	}
	code := a.exitCode(ctx, err)
	if a.face != nil && a.face.Close() != nil && code == 0 {
		return int(fault.Failed) // standard error is gone, so nothing can be reported
	}
	return code
}

// exitCode shows the error that ended the command, and returns its exit code.
func (a *app) exitCode(ctx context.Context, err error) int {
	if err == nil {
		return 0
	}
	code, text := int(fault.KindOf(err)), harmlessError{err}.Error()
	if ctx.Err() != nil {
		code, text = exitInterrupted, "interrupted; downloads stay in the cache, and no artifact was changed"
		if slices.Equal(a.names, []string{"init"}) {
			text = "interrupted; no file was written"
		}
		if a.wrote {
			text = "interrupted; the artifacts that were written before stay"
		}
	}
	if a.face != nil {
		a.face.Fail(text, code)
	} else {
		fmt.Fprintf(a.stderr, "hookbuild: %s\n", text)
	}
	return code
}

func newRootCommand(a *app) *cli.App {
	return &cli.App{
		Name:                   "hookbuild",
		Usage:                  "build your own HookOS: kernel, initramfs and embedded action images",
		Version:                version(),
		Flags:                  globalFlags(),
		Before:                 a.prepare,
		After:                  a.leaveCache,
		Commands:               commands(a),
		Writer:                 a.stdout,
		ErrWriter:              a.stderr,
		HideHelp:               true,
		UseShortOptionHandling: false,
		ExitErrHandler:         func(*cli.Context, error) {}, // run prints it and chooses the code
		OnUsageError:           usageError,
		CommandNotFound:        func(*cli.Context, string) {},
		Action: func(c *cli.Context) error {
			return writeHelp(a.results(), c.App, nil)
		},
	}
}

func commands(a *app) []*cli.Command {
	all := []*cli.Command{
		newAllCommand(a),
		newKernelConfigCommand(a),
		newKernelConfigShellCommand(a),
		newKernelCommand(a),
		newInspectCommand(a),
		newVerifyCommand(a),
		newImagesCommand(a),
		newEmbedCommand(a),
		newExtractImageCommand(a),
		newLinuxKitCommand(a),
		newContainersCommand(a),
		newSBOMCommand(a),
		newPushCommand(a),
		newPullCommand(a),
		newRunCommand(a),
		newQEMUCommand(a),
		newMatrixCommand(a),
		newDHCPCommand(a),
		newServeCommand(a),
		newNetbootCommand(a),
		newFlavorsCommand(a),
		newPlanCommand(a),
		newLockCommand(a),
		newKitCommand(a),
		newCacheCommand(a),
		newDoctorCommand(a),
		newInitCommand(a),
		newSchemaCommand(a),
		newHelpCommand(a),
		newCompletionCommand(a),
		newManCommand(a),
		newVersionCommand(a),
	}
	for _, c := range all {
		prepare(a, c)
	}
	return all
}

// prepare makes wrong usage of a command or its subcommands a usage error.
func prepare(a *app, c *cli.Command) {
	c.OnUsageError = usageError
	c.HideHelp = true
	if len(c.Subcommands) == 0 {
		c.Before = func(ctx *cli.Context) error {
			if err := a.applyToCommand(ctx); err != nil {
				return err
			}
			return a.checkReadable(ctx)
		}
	}
	if c.Action == nil && len(c.Subcommands) > 0 {
		c.Action = func(ctx *cli.Context) error { return writeHelp(a.results(), ctx.App, []string{c.Name}) }
	}
	for _, sub := range c.Subcommands {
		prepare(a, sub)
	}
}

func usageError(c *cli.Context, err error, _ bool) error {
	if parts := invalidValue.FindStringSubmatch(err.Error()); parts != nil {
		value, name := parts[1], parts[2]
		flags := c.App.Flags
		if c.Command != nil {
			flags = concat(c.Command.Flags, flags)
		}
		return usagef("--%s %s %s; add --help for the command's usage", name, value, expected(flags, name))
	}
	return usagef("%v; add --help for the command's usage", err)
}

// invalidValue matches the errors of package flag about an option's value.
var invalidValue = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-+([^:]+): `)

// expected says in a sentence's end that a value is not one of the option.
func expected(flags []cli.Flag, name string) string {
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return "is not a value of it"
	}
	switch flags[i].(type) {
	case *cli.DurationFlag:
		return "is not a duration such as 90s or 10m"
	case *cli.IntFlag:
		if slices.Contains(flags[i].Names(), "memory") {
			return "is not a whole number of MiB, such as 2048"
		}
		return "is not a whole number"
	case *cli.BoolFlag:
		return "is neither true nor false; give the option without a value, or leave it out"
	}
	return "is not a value of it"
}

func usagef(format string, args ...any) error {
	return fault.Usagef(format, args...)
}

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "take what the command line does not say from `FILE`; none uses no file (default: hookbuild.yaml in the current directory or its nearest parent that has one)"},
		&cli.StringFlag{Name: "hook-dir", Usage: "use the Hook checkout in `DIR` (default: the current directory or its nearest parent that is one)"},
		&cli.StringFlag{Name: "out", Value: "out", Usage: "write the artifacts to `DIR` (default: out, beside hookbuild.yaml or else in the checkout that the current directory is in)"},
		&cli.StringFlag{Name: "arch", Usage: "build for `ARCH`, amd64 (x86_64) or arm64 (aarch64) (default: the flavor's, else amd64)"},
		&cli.StringFlag{Name: "cache-dir", Usage: "keep downloads and converted layers in `DIR` (default: $CACHE_DIR, else hookbuild in the user's cache directory)"},
		&cli.StringFlag{Name: "cache-limit", Value: "20GB", Usage: "after each command, remove the least recently used files until the cache fits `SIZE`; none sets no limit"},
		&cli.StringSliceFlag{Name: "cache-from", Usage: "take results that other machines made from `REPOSITORY` in a registry (repeatable)"},
		&cli.StringFlag{Name: "cache-to", Usage: "push results to `REPOSITORY` in a registry"},
		&cli.BoolFlag{Name: "offline", Usage: "use only what is in the cache; contact no registry or server"},
		&cli.StringSliceFlag{Name: "kit", Usage: "take everything from the kit in `FILE` instead of the network (repeatable)"},
		&cli.StringSliceFlag{Name: "mirror", Usage: "apply the mirror `FROM=TO`: pull images of registry FROM from TO (repeatable)"},
		&cli.BoolFlag{Name: "mirror-by-tag", Usage: "take a mirror's image of the bundle's tag although nothing proves that it is the bundle's image; a warning names both digests"},
		&cli.StringSliceFlag{Name: "insecure-registry", Usage: "allow plain HTTP and unknown certificates for the registry at `HOST` (repeatable)"},
		&cli.StringSliceFlag{Name: "ca-file", Usage: "also trust the certificate authorities in `FILE` (PEM) for everything that is fetched (repeatable)"},
		&cli.StringFlag{Name: "max-layer", Usage: "refuse layers that unpack to more than `SIZE` (default: 1 GiB or 250 times the compressed size, whichever is more)"},
		&cli.StringFlag{Name: "progress", Value: "auto", Usage: "show progress in `FORMAT`: auto, tty, plain, github or json"},
		&cli.BoolFlag{Name: "debug", Usage: "show more detail"},
		&cli.IntFlag{Name: "jobs", DefaultText: "the number of processors", Value: runtime.GOMAXPROCS(0), Usage: "run up to `N` tasks in parallel"},
	}
}

// prepare runs before any command: it opens the face, reads hookbuild.yaml and
// checks the options that all commands have.
func (a *app) prepare(c *cli.Context) error {
	if err := a.openFace(c); err != nil {
		return err
	}
	a.warnOfVariables()
	a.warnOfSudo(os.Geteuid())
	if err := a.readSite(c); err != nil {
		return err
	}
	if err := a.applyGlobal(c); err != nil {
		return err
	}
	if err := a.openKept(c); err != nil {
		return err
	}
	if err := a.readKeptSite(); err != nil {
		return err
	}
	if c.Int("jobs") < 1 {
		return usagef("--jobs %d: it must be at least 1", c.Int("jobs"))
	}
	for _, host := range c.StringSlice("insecure-registry") {
		if host == "" || strings.ContainsAny(host, "/@?# ") { // not shown: it may have a password
			return usagef("--insecure-registry takes a registry's HOST or HOST:PORT, without scheme, login and path")
		}
	}
	if _, err := cacheLimit(c); err != nil {
		return err
	}
	if err := checkShared(c); err != nil {
		return err
	}
	_, err := maxLayer(c)
	return err
}

// openFace chooses the face that shows progress.
func (a *app) openFace(c *cli.Context) error {
	kind := c.String("progress")
	debug := c.Bool("debug") || truth(a.variable("DEBUG"))
	f, err := face.New(kind, face.Options{Writer: a.stderr, Debug: debug, Getenv: a.getenv})
	if err != nil {
		return usagef("--progress %q %w", kind, err)
	}
	a.face = f
	a.unwatch = context.AfterFunc(c.Context, func() {
		_ = f.Stop("stopping…; a second signal ends hookbuild at once") // Close returns the same error
	})
	return nil
}

// sink returns the sink that packages report progress to.
func (a *app) sink() progress.Sink {
	if a.face == nil {
		return progress.Discard{}
	}
	return harmlessSink{&rememberer{a.face, &a.warnings}}
}

// results returns the writer for a command's results, which programs may read.
// On a terminal it first clears the running tasks; later reports appear as plain
// lines.
func (a *app) results() io.Writer {
	if a.face != nil {
		_ = a.face.Settle() // Close returns the same error
	}
	return a.stdout
}

// note shows a message to the user.
func (a *app) note(format string, args ...any) { progress.Notef(a.sink(), format, args...) }

// typed returns which of an option's names is on the command line, else the first.
func (a *app) typed(names ...string) string {
	for _, name := range names {
		if slices.Contains(a.options, name) {
			return name
		}
	}
	return names[0]
}

// command returns the command's name with its subcommand's, as "cache ls".
func (a *app) command() string { return strings.Join(a.names, " ") }

// variable returns the value of one of build.sh's variables, from a KEY=VALUE
// argument, else the environment, else hookbuild.yaml.
func (a *app) variable(name string) string {
	if v := a.given(name); v != "" {
		return v
	}
	return a.siteVariable(name)
}

// flagOr returns the flag's value if the flag is set, else the variable's if that
// is not empty, else the flag's default.
func (a *app) flagOr(c *cli.Context, flag, variable string) string {
	if c.IsSet(flag) {
		return c.String(flag)
	}
	if v := a.variable(variable); v != "" {
		return v
	}
	return c.String(flag)
}

// truth reports whether value is one of the words for yes in build.sh's variables.
func truth(value string) bool {
	switch strings.ToLower(value) {
	case "yes", "y", "1", "true", "on":
		return true
	}
	return false
}

// isNo reports whether value is one of the words for no.
func isNo(value string) bool {
	switch strings.ToLower(value) {
	case "no", "n", "0", "false", "off":
		return true
	}
	return false
}

// switchedOn reports whether a variable is set. It is for variables that build.sh
// only compares with the empty string. Unlike there, a word for no counts as unset.
func (a *app) switchedOn(name string) bool {
	value := a.variable(name)
	return value != "" && !isNo(value)
}

// variablePath returns the path that a variable has. As in build.sh, which changes to
// its own directory, a relative one is relative to the checkout around the current
// directory.
func (a *app) variablePath(c *cli.Context, name string) string {
	path := a.variable(name)
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(checkoutAbove(c), path)
}

// checkoutAbove returns the directory of the checkout that is a parent of the current
// directory, "" if that is in none, is one itself, or another one was chosen.
func checkoutAbove(c *cli.Context) string {
	if c.String("hook-dir") != "" {
		return ""
	}
	return build.WorkspaceAbove(".")
}

// cacheDir returns the directory of --cache-dir or its default.
func (a *app) cacheDir(c *cli.Context) (string, error) {
	dir := c.String("cache-dir")
	if !c.IsSet("cache-dir") {
		dir = a.variablePath(c, "CACHE_DIR")
	}
	if dir != "" {
		return dir, nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache directory: %w; set --cache-dir DIR", err)
	}
	return filepath.Join(base, "hookbuild"), nil
}

func (a *app) openCache(c *cli.Context) (*cache.Cache, error) {
	dir, err := a.cacheDir(c)
	if err != nil {
		return nil, err
	}
	if a.store, err = cache.Open(dir, a.sink()); err != nil {
		return nil, err
	}
	return a.store, a.share(c, a.store)
}

func (a *app) newClient(c *cli.Context, store *cache.Cache) (*oci.Client, error) {
	return a.newClientWithin(c, store, web.Limits{})
}

// newClientWithin returns a client with other limits than the default ones.
func (a *app) newClientWithin(c *cli.Context, store *cache.Cache, limits web.Limits) (*oci.Client, error) {
	mirrors, err := a.mirrors(c)
	if err != nil {
		return nil, err
	}
	keychain, err := a.keychain(c)
	if err != nil {
		return nil, err
	}
	most, err := maxLayer(c)
	if err != nil {
		return nil, err
	}
	client, err := a.webClient(c)
	if err != nil {
		return nil, err
	}
	if limits != (web.Limits{}) {
		client = client.WithLimits(limits)
	}
	return oci.NewClient(oci.Options{
		Web: client, Keychain: keychain, Cache: store, Mirrors: mirrors, MirrorByTag: c.Bool("mirror-by-tag"), Insecure: c.StringSlice("insecure-registry"),
		Offline: c.Bool("offline"), Jobs: c.Int("jobs"), Progress: a.sink(),
		MostUnpacked: most, Archives: &a.archives,
	}), nil
}

// maxLayer returns --max-layer in bytes; 0 means the default limit.
func maxLayer(c *cli.Context) (int64, error) {
	text := c.String("max-layer")
	if text == "" {
		return 0, nil
	}
	most, err := size.Parse(text)
	if err != nil {
		return 0, usagef("--max-layer: %v", err)
	}
	return most, nil
}

func parseMirrors(c *cli.Context) ([]oci.Mirror, error) {
	var mirrors []oci.Mirror
	for _, m := range c.StringSlice("mirror") {
		from, to, ok := strings.Cut(m, "=")
		if strings.ContainsAny(m, "@?#") || strings.Contains(m, "://") { // not shown: it may have a password
			return nil, usagef("--mirror takes names of registries (FROM=TO), such as public.ecr.aws=mirror.example:443/ecr, and not URLs, logins or queries; log in with docker login")
		}
		if !ok || from == "" || to == "" {
			return nil, usagef("--mirror %q is not of the form FROM=TO, such as public.ecr.aws=mirror.example:443", m)
		}
		mirrors = append(mirrors, oci.Mirror{From: from, To: to})
	}
	return mirrors, nil
}

// newBuilder returns a Builder with the cache, the client and the options of all
// builds.
func (a *app) newBuilder(c *cli.Context) (*build.Builder, error) {
	store, err := a.openCache(c)
	if err != nil {
		return nil, err
	}
	client, err := a.newClient(c, store)
	if err != nil {
		return nil, err
	}
	salt, err := salt()
	return &build.Builder{
		Cache: store, Client: client, Engine: dockerhost.Connect, Progress: a.sink(), Jobs: c.Int("jobs"),
		Offline: c.Bool("offline"), Kit: a.kit != nil, Version: version(), Salt: salt, Web: a.web,
	}, err
}
