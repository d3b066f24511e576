package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/build/remaster"
	"hookbuild/build/survey"
	"hookbuild/internal/atomicfile"
	"hookbuild/kernel/flavor"
)

// inspectAll implements --diff and --html, which look at everything.
func (a *app) inspectAll(c *cli.Context) error {
	systems := [][]string{subjectArguments(c)}
	if c.Bool("diff") {
		if c.NArg() != 2 {
			return usagef("--diff compares two HookOS, each given as a directory, a vmlinuz or an initramfs, not %d", c.NArg())
		}
		systems = [][]string{{c.Args().Get(0)}, {c.Args().Get(1)}}
	}
	for _, flag := range []string{"config", "pci", "usb", "lspci", "modules"} {
		if c.IsSet(flag) {
			return usagef("--%s selects what to show, but --diff and --html show everything; give one or the other", flag)
		}
	}
	if c.IsSet("html") {
		target := a.pageTarget(c.String("html"))
		if target.IsStdout() && c.Bool("json") {
			return usagef("--html %s and --json both write to standard output; name a file with --html, or leave out --json", c.String("html"))
		}
		if err := target.Check(); err != nil {
			return err
		}
	}
	opened := make([]*survey.System, len(systems))
	var s *subject
	for i, args := range systems {
		var err error
		if s, err = a.openSubject(c, withSibling(args)); err != nil {
			return err
		}
		defer s.Close() // only read
		if opened[i], err = s.survey(c, strings.Join(args, " ")); err != nil {
			return err
		}
	}
	var diff *survey.Diff
	last := opened[len(opened)-1]
	if len(opened) == 2 {
		var err error
		if diff, err = survey.Compare(c.Context, opened[0], last); err != nil {
			return err
		}
	}
	if err := a.writeSurvey(c, last, diff); err != nil || diff != nil || !c.Bool("json") {
		return err
	}
	return a.writeFindings(c, s)
}

func (a *app) writeSurvey(c *cli.Context, s *survey.System, d *survey.Diff) error {
	if name := c.String("html"); name != "" {
		err := a.writePage(name, func(w io.Writer) error { return survey.WritePage(w, s, d) })
		if err != nil || d == nil || a.pageTarget(name).IsStdout() {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(a.results(), d)
	}
	return a.printText(d.WriteText)
}

// writePage writes a file that appears whole or not at all; "-" is standard
// output.
func (a *app) writePage(name string, write func(io.Writer) error) (err error) {
	out, err := a.pageTarget(name).Create()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	if err := write(out); err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	if !a.pageTarget(name).IsStdout() {
		a.note("wrote %s", name)
	}
	return nil
}

func (a *app) pageTarget(name string) atomicfile.Target {
	return atomicfile.Target{Path: name, Stdout: a.results()}
}

// survey reads everything about a subject.
func (s *subject) survey(c *cli.Context, name string) (*survey.System, error) {
	record, err := s.record()
	if err != nil {
		return nil, err
	}
	return survey.Read(c.Context, survey.Parts{
		Name: name, Kernel: s.kernel, WithoutModules: s.vmlinuz != "" && s.existing == nil,
		Existing: s.existing, Record: record, Jobs: c.Int("jobs"),
	})
}

// record returns the entry for an initramfs in the manifest.json next to it, or
// nil if that does not exist or does not list the file.
func (s *subject) record() (*artifact.Build, error) {
	if s.existing == nil {
		return nil, nil
	}
	m, err := artifact.ReadManifest(filepath.Join(filepath.Dir(s.existing.Name), artifact.ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	base := filepath.Base(s.existing.Name)
	for _, r := range m.Builds {
		if slices.ContainsFunc(r.Artifacts, func(a artifact.File) bool { return a.Name == base }) {
			return &r, nil
		}
	}
	return nil, nil
}

// withSibling adds the vmlinuz next to an initramfs that is given alone.
func withSibling(args []string) []string {
	if len(args) != 1 {
		return args
	}
	dir, base := filepath.Split(args[0])
	if rest, ok := strings.CutPrefix(base, "initramfs"); ok {
		if vmlinuz := filepath.Join(dir, "vmlinuz"+rest); exists(vmlinuz) {
			return []string{vmlinuz, args[0]}
		}
	}
	return args
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// expandDirectories replaces each directory by the vmlinuz and the initramfs in
// it or in its subdirectory hook: those of the architecture, if it has several.
func (a *app) expandDirectories(ctx context.Context, args []string, dockerArch string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil || !info.IsDir() {
			files = append(files, arg)
			continue
		}
		arch := map[string]string{"amd64": flavor.X86_64, "arm64": flavor.AArch64}[dockerArch]
		pair, err := remaster.FindPair(arg, arch, flavor.X86_64)
		if err != nil {
			return nil, err
		}
		files = append(files, pair.Vmlinuz(), pair.Initramfs())
	}
	return files, ctx.Err()
}
