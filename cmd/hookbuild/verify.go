package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/build/verify"
	"hookbuild/bundles"
	"hookbuild/internal/fault"
	"hookbuild/internal/words"
	"hookbuild/kernel/flavor"
	"hookbuild/machine/verdict"
)

func newVerifyCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "verify",
		Usage:       "verify a result, or boot it and report what was seen",
		Description: "Verify checks checksums, the structure of the initramfs, every embedded image and the images that a template's actions need, and reports all problems. A vmlinuz and an initramfs may be named in either order.",
		ArgsUsage:   "[DIR | VMLINUZ INITRAMFS]",
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "template", Usage: "require the images of all actions in `FILE`, a Tinkerbell template or cluster specification (repeatable)"},
			&cli.StringFlag{Name: "cluster", Usage: "require what the machines of the cluster specification `FILE` need: the images of all actions, and the worker of its EKS Anywhere release"},
			&cli.StringFlag{Name: "bundle", Usage: "verify the signature of the bundle manifest in `FILE|URL`, which must be the one that the artifacts were built from (default: that in --kit or the cache, if it is there)"},
			&cli.BoolFlag{Name: "sbom", Usage: "require sbom.spdx.json and provenance.json, which are compared with the files wherever they are"},
			&cli.StringFlag{Name: "signature", Usage: "require a signature of checksums.txt by the public key in `KEY`, PEM or OpenPGP: checksums.txt.sigstore.json, .sig or .asc beside it"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
			&cli.BoolFlag{Name: "boot", Usage: "boot the artifacts in QEMU too, and report what was seen: kernel, init, disk, network card, what a shell on the serial console answers, the worker's first call"},
		}, bootFlags()...),
		Action: a.verify,
	}
}

func (a *app) verify(c *cli.Context) error {
	if err := a.checkBootFlags(c); err != nil {
		return err
	}
	r, err := a.verifyRequest(c)
	if err != nil {
		return err
	}
	if err := checkBootable(c, r); err != nil {
		return err
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return err
	}
	named, err := a.namedManifest(c)
	if err != nil {
		return err
	}
	report, err := verify.Run(c.Context, b.Editor(), r)
	if err != nil {
		return err
	}
	if err := a.verifyBundles(c, report, named); err != nil {
		return err
	}
	whole := proven{Report: report}
	if c.Bool("boot") && len(report.Faults) == 0 {
		if whole.Boot, err = a.boot(c, r, report); err != nil {
			return err
		}
	}
	if err := a.printProof(whole, c.Bool("json")); err != nil {
		return err
	}
	what := orDefault(report.Dir, r.Initramfs)
	if len(report.Faults) > 0 {
		return fault.Invalidf("verifying %q: %s %s; standard output lists each%s", what, words.Count(len(report.Faults), "problem"), faultyFiles(report, r.Templates), notBooted(c))
	}
	if whole.Boot != nil {
		if err := bootFailed(whole.Boot); err != nil {
			return err
		}
	}
	a.note("no problems found in %q", what)
	return nil
}

// proven is what verify prints: what was checked and, with --boot, what was seen of
// the boot.
type proven struct {
	*verify.Report
	Boot *verdict.Report `json:"boot,omitempty"`
}

// verifyRequest returns the request on the command line, for a directory of
// artifacts, or for a kernel and an initramfs in either order.
func (a *app) verifyRequest(c *cli.Context) (r verify.Request, err error) {
	arch, err := a.dockerArch(c)
	if err != nil {
		return r, err
	}
	r.Arch = map[string]string{"amd64": flavor.X86_64, "arm64": flavor.AArch64}[arch]
	r.Templates, r.SBOM, r.Key = c.StringSlice("template"), c.Bool("sbom"), c.String("signature")
	if file := c.String("cluster"); file != "" {
		cluster, err := bundles.ReadCluster(file)
		if err != nil {
			return r, err
		}
		r.Cluster = cluster
		r.Templates = append(r.Templates, file)
	}
	switch args := c.Args().Slice(); len(args) {
	case 0, 1:
		r.Dir = orDefault(c.Args().First(), filepath.Join(c.String("out"), artifact.DefaultName))
		if info, err := os.Stat(r.Dir); err == nil && info.Mode().IsRegular() {
			return r, usagef("verifying %q: not a directory; name a directory of artifacts, or both a vmlinuz and an initramfs", r.Dir)
		}
	case 2:
		var kernels [2]bool
		for i, name := range args {
			if info, err := os.Stat(name); err == nil && info.IsDir() {
				return r, usagef("%s: name only one directory of artifacts; quote a name with spaces, and give templates with --template FILE", quoted(args))
			}
			if kernels[i], err = isKernelFile(name); err != nil {
				return r, err
			}
		}
		if kernels[0] == kernels[1] {
			return r, usagef("verifying %s: name one directory, or one vmlinuz and one initramfs", quoted(args))
		}
		if r.SBOM || r.Key != "" {
			return r, usagef("--sbom and --signature are about a directory's files; name the directory")
		}
		r.Vmlinuz, r.Initramfs = args[0], args[1]
		if kernels[1] {
			r.Vmlinuz, r.Initramfs = args[1], args[0]
		}
	default:
		return r, usagef("%s: name one directory of artifacts, or a vmlinuz and an initramfs; quote a name with spaces, and give templates with --template FILE", quoted(args))
	}
	return r, nil
}

// faultyFiles says in which files problems are, and with which templates.
func faultyFiles(r *verify.Report, templates []string) string {
	var in, with []string
	for _, f := range r.Faults {
		list := &in
		if slices.Contains(templates, f.File) {
			list = &with
		}
		if !slices.Contains(*list, f.File) {
			*list = append(*list, f.File)
		}
	}
	text := "in " + strings.Join(in, ", ")
	switch needed := "with what " + strings.Join(with, ", ") + " needs"; {
	case len(with) > 0 && len(in) > 0:
		text += " and " + needed
	case len(with) > 0:
		text = needed
	}
	return text
}

func (a *app) printProof(r proven, asJSON bool) error {
	if asJSON {
		return printJSON(a.results(), r)
	}
	return a.printText(func(w io.Writer, width int) error {
		if _, err := io.WriteString(w, provenTable(r.Report).Text(width)); err != nil {
			return err
		}
		for _, f := range r.Faults {
			problem := strings.Join(words.Fold("problem: "+harmless(f.String()), width, "    "), "\n")
			if _, err := fmt.Fprintln(w, problem); err != nil {
				return err
			}
		}
		if r.Boot == nil {
			return nil
		}
		return printBoot(w, width, r.Boot)
	})
}

// signatureText returns what is known of a bundle's signature.
func signatureText(b verify.Bundle) string {
	const covers = "it covers number and versions, and no image; "
	const images = "images are covered by their digests"
	by, shows := "verified with the manifest in "+b.Verified, "as the manifest in "+b.Verified+" shows"
	if b.Verified == "" {
		const notHere = "as the build recorded; the manifest is not here to "
		by, shows = notHere+"verify it again", notHere+"look again"
	}
	switch bundles.Verdict(b.Signature) {
	case bundles.SignatureValid:
		return "its signature is valid (" + by + "): " + covers + images
	case bundles.SignatureAbsent:
		return "it is not signed, " + shows + "; " + images
	case bundles.SignatureWrong:
		return "its signature is wrong (" + by + ")"
	}
	return "its signature was not recorded, and the manifest is not here to verify it"
}

// provenTable returns what was verified.
func provenTable(r *verify.Report) *words.Table {
	table := &words.Table{}
	if r.Signature != "" {
		table.Row("signature", r.Signature, "by the key, over checksums.txt")
	}
	for _, artifact := range r.Artifacts {
		table.Row("artifact", artifact.Name, words.Bytes(artifact.Size))
	}
	for _, t := range r.Tarballs {
		table.Row("tarball", t.Name, words.Bytes(t.Size))
	}
	for _, s := range r.Sites {
		printSite(table, " of "+s.Build, s.Overlays, s.Settings)
	}
	for _, b := range r.Bundles {
		table.Row("bundle", b.Build, b.Text+"; "+signatureText(b))
	}
	for _, s := range r.Systems {
		table.Row("system", s.Initramfs, fmt.Sprintf("Linux %s, %s, %s", orDefault(s.Kernel, "unknown"), words.Count(s.Segments, "segment"), words.Count(s.Files, "entry")))
		for _, image := range s.Images {
			table.Row("image", strings.Join(image.Names, " "), image.ID)
		}
		switch w := s.Worker; {
		case w != nil:
			table.Row("worker", w.Program, w.Because)
		case s.Damaged:
			table.Row("images", "not known", "the embedded images could not be read")
		case s.NoWorker:
			table.Row("worker", "none on board", "machines need a registry to pull one from")
		}
	}
	for _, action := range r.Actions {
		state := "on board"
		switch {
		case action.OnBoard:
		case action.Unknown:
			state = "not known whether on board"
		default:
			state = "not on board"
		}
		table.Row("action", action.Task+": "+action.Name, action.Image+", "+state)
	}
	return table
}
