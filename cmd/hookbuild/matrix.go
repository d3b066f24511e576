package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build/matrix"
	"hookbuild/build/ship"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/web"
	"hookbuild/kernel"
	"hookbuild/kernel/deliver"
	"hookbuild/kernel/flavor"
	"hookbuild/site/lock"
	"hookbuild/site/profile"
)

func newMatrixCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:    "matrix",
		Aliases: []string{"gha-matrix"},
		Usage:   "print CI's jobs, for GitHub Actions, GitLab or as JSON",
		Description: "Tags choose the flavors: those of --tags, else those of CI_TAGS, else " +
			"standard, dev, armbian-sbc and armbian-uefi. CI_RUNNER, CI_RUNNER_KERNEL_AMD64 and the like choose the runners. " +
			"In a workflow of GitHub, the jobs also become the step's outputs.",
		Flags: concat([]cli.Flag{
			&cli.StringSliceFlag{Name: "tags", Usage: "choose the flavors that have one of the tags `TAG,...`"},
			&cli.StringFlag{Name: "format", Value: "github", Usage: "print `github|gitlab|json`: lines for $GITHUB_OUTPUT, a child pipeline, or one JSON document"},
			&cli.BoolFlag{Name: "skip-published", Usage: "leave out kernels whose image, with the current configuration, the registry has"},
			&cli.StringFlag{Name: "hookos", Usage: "with --skip-published, leave out HookOS that push --by-lock pushed to `REPOSITORY` from the same " + lock.Name},
			lockFileFlag(),
		}, matrixKernelFlags()),
		Action: a.matrix,
	}
}

// matrixKernelFlags returns the flags that are part of the name of a kernel's
// image, which --skip-published looks for.
func matrixKernelFlags() []cli.Flag { return concat(sourceFlags(), optionFlags(), moduleFlags()) }

func (a *app) matrix(c *cli.Context) error {
	if err := a.checkMatrix(c); err != nil {
		return err
	}
	flavors, err := a.flavors(c)
	if err != nil {
		return err
	}
	a.noteNoCheckout(c)
	inventory := matrix.Inventory{Flavors: flavors.All(), Bootables: flavor.Bootables()}
	tags := matrix.DefaultTags(a.variable)
	if c.IsSet("tags") {
		tags = c.StringSlice("tags")
		if err := inventory.CheckTags(tags); err != nil {
			return err
		}
	} else if err := inventory.CheckTags(tags); err != nil && a.variable("CI_TAGS") != "" {
		a.note("%v", err)
	}
	m, err := matrix.Make(inventory, tags, a.variable)
	if err != nil {
		return err
	}
	a.noteSiteFlavors(m)
	if from := a.siteKernel(); from != "" && from != "build" {
		a.note("the kernels are those of kernel.from in %s, %s; leaving out their jobs", a.site.Path, web.ShowAll(from))
		m.Kernels = nil
		if m, err = a.withKernel(c, m, from); err != nil {
			return err
		}
	}
	if c.IsSet("hookos") {
		if m, err = a.withoutPublishedHooks(c, m); err != nil {
			return err
		}
	}
	if c.Bool("skip-published") {
		if m, err = m.Without(func(id string) (string, error) { return a.published(c, flavors, id) }); err != nil {
			return err
		}
	}
	return a.writeMatrix(c, m)
}

// noteSiteFlavors says that the tags choose the jobs, not hookbuild.yaml, if the jobs
// are of other flavors than the file lists.
func (a *app) noteSiteFlavors(m matrix.Matrix) {
	if a.site == nil || len(a.site.Flavors) == 0 {
		return
	}
	var chosen []string
	for _, h := range m.Hooks {
		chosen = append(chosen, h.Kernel)
	}
	if listed := a.site.Flavors; !slices.Equal(slices.Sorted(slices.Values(chosen)), slices.Sorted(slices.Values(listed))) {
		a.note("the jobs are chosen by tag, not by flavors in %s (%s); see --tags", a.site.Path, strings.Join(listed, ", "))
	}
}

// checkMatrix rejects arguments that have no effect.
func (a *app) checkMatrix(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("%q: %s takes no arguments; choose flavors with --tags standard,lts", c.Args().First(), a.command())
	}
	format := c.String("format")
	if format != "github" && format != "gitlab" && format != "json" {
		return usagef("--format %q: use github, gitlab or json", format)
	}
	if c.Bool("skip-published") && c.Bool("offline") {
		return usagef("--skip-published asks a registry, which --offline forbids; leave one of them out")
	}
	if c.IsSet("hookos") && !c.Bool("skip-published") {
		return usagef("--hookos is where --skip-published looks for HookOS; add --skip-published")
	}
	if c.IsSet("hookos") {
		if err := oci.CheckRegistry(c.String("hookos")); err != nil {
			return fmt.Errorf("--hookos: %w", err)
		}
	}
	if c.IsSet("lock-file") && !c.IsSet("hookos") {
		return usagef("--lock-file says which HookOS --hookos looks for; add --hookos REPOSITORY")
	}
	for _, name := range namesOf(matrixKernelFlags()) {
		if !c.IsSet(name) || a.fromSite(name) {
			continue
		}
		if !c.Bool("skip-published") {
			return usagef("--%s chooses the images that --skip-published looks for; add --skip-published", name)
		}
		if format == "gitlab" {
			return usagef("--%s would not reach the jobs of the pipeline; set it under kernel in hookbuild.yaml", name)
		}
	}
	return nil
}

// withKernel leaves out the jobs of architectures for which there is no kernel at from,
// the kernel.from of hookbuild.yaml: a HookOS of them could not be built. It is an error
// if the file lists such a flavor, or if no job is left.
func (a *app) withKernel(c *cli.Context, m matrix.Matrix, from string) (matrix.Matrix, error) {
	o, err := a.placeOptions(c)
	if err != nil {
		return m, err
	}
	arches, err := kernel.Arches(c.Context, from, o)
	if errors.Is(err, fs.ErrNotExist) {
		a.note("the kernel %s is not on this machine, so the jobs of all architectures stay; those that it is not for will fail", web.ShowAll(from))
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("reading kernel.from in %s: %w", a.site.Path, err)
	}
	if len(arches) == 0 {
		return m, nil // the jobs find out
	}
	kept, without := m.For(arches)
	if len(without) == 0 {
		return kept, nil
	}
	what := fmt.Sprintf("kernel.from in %s, %s, is for %s", a.site.Path, web.ShowAll(from), strings.Join(arches, " and "))
	for _, id := range without {
		if slices.Contains(a.site.Flavors, id) {
			return m, fault.Invalidf("choosing the jobs: %s, but flavors in the same file lists %s, of another architecture; remove that flavor, or give it a hookbuild.yaml of its own with a kernel for it", what, id)
		}
	}
	if len(kept.Hooks) == 0 {
		return m, fault.Invalidf("choosing the jobs: %s, and no flavor with these tags is (%s); choose others with --tags, or another kernel", what, strings.Join(without, ", "))
	}
	a.note("%s; leaving out %s, of another architecture", what, strings.Join(without, ", "))
	return kept, nil
}

// placeOptions returns what reading a kernel on this machine needs.
func (a *app) placeOptions(c *cli.Context) (o kernel.OpenOptions, err error) {
	if o.Options, err = a.kernelOptions(c); err != nil {
		return o, err
	}
	o.Client, err = a.newClient(c, o.Cache)
	return o, err
}

// siteKernel returns where hookbuild.yaml takes kernels from, "" if it does not say.
// The job of a HookOS reads it too.
func (a *app) siteKernel() string {
	if a.site == nil {
		return ""
	}
	for _, s := range a.site.settings {
		if s.Flag == "kernel" && len(s.Values) > 0 {
			return s.Values[0]
		}
	}
	return ""
}

// published returns the kernel image of a flavor if the registry has it, else "".
// If the registry fails, the kernel counts as not published: its job asks again.
func (a *app) published(c *cli.Context, flavors flavor.Inventory, id string) (string, error) {
	f, err := flavors.Find(id)
	if err != nil {
		return "", err
	}
	o, err := a.openOptions(c, f)
	if err != nil {
		return "", err
	}
	ref, found, err := kernel.Published(c.Context, o, deliver.Registry{Client: o.Client})
	switch {
	case err != nil && ref == "":
		return "", fmt.Errorf("naming the kernel image of %s: %w", id, err)
	case err != nil:
		a.note("%v; keeping the job of %s", err, id)
		return "", c.Context.Err()
	case !found:
		return "", nil
	}
	a.note("the registry has %s, the kernel of %s; leaving out its job", ref, id)
	return ref, nil
}

// withoutPublishedHooks leaves out the HookOS that the repository of --hookos has by
// the tags of the lock. If the registry fails, a HookOS counts as not published.
func (a *app) withoutPublishedHooks(c *cli.Context, m matrix.Matrix) (matrix.Matrix, error) {
	file, _, err := a.readLock(c)
	if err != nil {
		return m, err
	}
	r, err := a.remote(c)
	if err != nil {
		return m, err
	}
	if _, err := r.ParseRepository(c.String("hookos")); err != nil {
		return m, err
	}
	return m.WithoutHooks(func(id string) (bool, error) {
		builds := file.Find(id, "")
		for _, b := range builds {
			tag, err := b.Tag(version())
			if err != nil {
				return false, err
			}
			ref := c.String("hookos") + ":" + tag
			there, err := ship.IsPublished(c.Context, ref, r)
			if err != nil {
				a.note("%v; keeping the job of %s", err, id)
			}
			if err == nil && !there && slices.ContainsFunc(b.Files, func(f lock.Input) bool { return f.Name == profile.Entry }) {
				a.note("the registry does not have %s; keeping the job of %s (with passwords in its site settings it never has such a tag, because %s does not hold them)", ref, id, lock.Name)
			}
			if err != nil || !there {
				return false, c.Context.Err()
			}
			a.note("the registry has %s, the HookOS of %s; leaving out its job", ref, id)
		}
		return len(builds) > 0, nil
	})
}

func (a *app) writeMatrix(c *cli.Context, m matrix.Matrix) error {
	switch c.String("format") {
	case "json":
		return m.WriteJSON(a.results())
	case "gitlab":
		var args []string
		if dir := c.String("hook-dir"); c.IsSet("hook-dir") && !a.fromSite("hook-dir") {
			args = append(args, "--hook-dir", dir)
		}
		if base := a.variable("HOOK_KERNEL_OCI_BASE"); base != "" {
			args = append(args, "HOOK_KERNEL_OCI_BASE="+base)
		}
		return m.WriteGitLab(a.results(), a.variable, args...)
	}
	if err := m.Write(a.results()); err != nil {
		return err
	}
	return appendOutputs(a.variable("GITHUB_OUTPUT"), m)
}

// appendOutputs passes the matrix to the later jobs of a workflow, if it runs in
// one.
func appendOutputs(path string, m matrix.Matrix) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("writing the step's outputs (GITHUB_OUTPUT): %w", err)
	}
	if err := errors.Join(m.Write(f), f.Close()); err != nil {
		return fmt.Errorf("writing the step's outputs to %q: %w", path, err)
	}
	return nil
}
