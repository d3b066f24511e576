package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/bundles"
	"hookbuild/cmd/hookbuild/face"
	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/shared"
	"hookbuild/internal/web"
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
	flavor       string          // of several, the one at hand
	wrote        bool            // artifacts were written
	locked       *lock.Build     // nil without --locked
	lockedNames  map[string]bool // the paths in locked, see lockPaths
	kit          *kit.Kit        // nil until it is first asked for
	kept         *kit.Site       // what a kit has of files, nil without --locked
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
		code, text = exitInterrupted, a.interruption()
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
