package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build/onboard"
	"hookbuild/bundles"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// bundleFlags say which bundle is meant, and what of it.
func bundleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "bundle", Usage: "the EKS Anywhere bundle manifest, a `FILE|URL`"},
		&cli.StringFlag{Name: "eksa-version", Usage: "the bundle of this EKS Anywhere release, such as v0.24.1"},
		&cli.StringFlag{Name: "releases-url", Usage: "where the list of releases is, for a site with a copy of its own"},
		&cli.StringFlag{Name: "kube-version", Usage: "choose where a bundle's images differ between Kubernetes versions"},
		&cli.StringFlag{Name: "worker-image", Usage: "the `REF` of the worker, in the place of the bundle's"},
		&cli.StringFlag{Name: "worker-from", Usage: "take the worker out of the initramfs of a released HookOS, a `FILE|URL`"},
		&cli.BoolFlag{Name: "no-worker", Usage: "go on without a worker on board"},
		&cli.BoolFlag{Name: "require-signature", Usage: "refuse a bundle that AWS has not signed; a wrong signature is always refused"},
		&cli.BoolFlag{Name: "keep-source-names", Usage: "images also keep the names that they have in the bundle (default: for the releases that ask for them)"},
	}
}

// imageFlags say which images are meant beside a bundle's.
func imageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "images-file", Usage: "embed the images that `FILE` lists, in the form of images.txt (repeatable)"},
		&cli.StringSliceFlag{Name: "image", Usage: "embed one more image, `SRC[=NAME]` (repeatable)"},
	}
}

// loadBundle finds the bundle that the flags name: a manifest, a release, what
// the installed eksctl says, or the latest release.
func (a *app) loadBundle(c *cli.Context) (*bundles.Bundle, error) {
	resolver := &bundles.Resolver{ReleasesURL: c.String("releases-url"), Offline: c.Bool("offline"), Progress: a.sink()}
	ref := bundles.Ref{Bundle: c.String("bundle"), EKSAVersion: c.String("eksa-version")}
	if ref.Bundle != "" && ref.EKSAVersion != "" {
		return nil, usagef("--bundle and --eksa-version both name a bundle; give one of them")
	}
	if ref == (bundles.Ref{}) {
		output, err := eksctlVersion(c.Context)
		if err != nil {
			return nil, err
		}
		ref.Eksctl = output
	}
	task := progress.Start(a.sink(), 0, "read the bundle manifest")
	bundle, err := resolver.Load(c.Context, ref)
	if err != nil {
		return nil, task.End(err, "")
	}
	return bundle, errors.Join(task.End(nil, bundle.String()), a.checkSignature(c, bundle))
}

// checkSignature says whether AWS signed the bundle, and what that is worth. A
// wrong signature is an error, an absent one only with --require-signature.
func (a *app) checkSignature(c *cli.Context, b *bundles.Bundle) error {
	v, err := b.VerifySignature()
	switch {
	case err == nil:
		a.note("the signature of %s is valid: it covers %s; it does not cover %s. Each image is checked against the bundle's imageDigest as it is pulled",
			b, strings.Join(v.VouchesFor, ", "), strings.Join(v.SilentOn, ", "))
		return nil
	case !errors.Is(err, bundles.ErrUnsigned):
		return err
	case c.Bool("require-signature"):
		return fault.Invalidf("%w; take a bundle of v0.22.0 or later as AWS publishes it, or leave --require-signature out", err)
	}
	a.note("%s has no signature", b)
	return nil
}

// eksctlVersion is what the installed eksctl says of its release; "" when
// there is none.
func eksctlVersion(ctx context.Context) (string, error) {
	path, err := exec.LookPath("eksctl")
	if errors.Is(err, exec.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking for eksctl: %w", err)
	}
	cmd := exec.CommandContext(ctx, path, "anywhere", "version")
	cmd.Dir = os.TempDir() // it leaves a log directory behind where it runs
	output, err := cmd.Output()
	if err != nil {
		return "", fault.Outsidef("asking `eksctl anywhere version` for its bundle: %w; give --bundle FILE or --eksa-version", err)
	}
	return string(output), nil
}

// embedRequest gathers what the flags name; the bundle is read when fromBundle
// is set.
func (a *app) embedRequest(c *cli.Context, fromBundle bool) (*onboard.Embed, error) {
	list, err := imageList(c)
	if err != nil {
		return nil, err
	}
	e := &onboard.Embed{List: list}
	if !fromBundle {
		for _, flag := range bundleFlags() {
			if c.IsSet(flag.Names()[0]) {
				return nil, usagef("--%s says something of a bundle, but none is asked for; add --%s", flag.Names()[0], bundleSwitch(c))
			}
		}
		return e, nil
	}
	if e.Bundle, err = a.loadBundle(c); err != nil {
		return nil, err
	}
	worker, err := a.workerSource(c)
	if err != nil {
		return nil, err
	}
	e.Options = bundles.Options{WorkerImage: worker, NoWorker: c.Bool("no-worker"), KubeVersion: c.String("kube-version")}
	if c.IsSet("keep-source-names") {
		e.Options.SourceNames = bundles.Drop
		if c.Bool("keep-source-names") {
			e.Options.SourceNames = bundles.Keep
		}
	}
	mirrors, err := parseMirrors(c)
	for _, m := range mirrors {
		e.Options.Mirrors = append(e.Options.Mirrors, bundles.Mirror(m))
	}
	return e, err
}

// workerSource is the worker's image that the flags name; "" is the bundle's.
func (a *app) workerSource(c *cli.Context) (string, error) {
	from := c.String("worker-from")
	if from == "" {
		return c.String("worker-image"), nil
	}
	if c.IsSet("worker-image") || c.Bool("no-worker") {
		return "", usagef("--worker-from, --worker-image and --no-worker exclude one another; give one")
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return "", err
	}
	return b.Editor().WorkerFrom(c.Context, from)
}

// imageList reads the files of --images-file and the words of --image.
func imageList(c *cli.Context) (bundles.List, error) {
	var list bundles.List
	for _, path := range c.StringSlice("images-file") {
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.Invalidf("reading the images to embed: %w", err)
		}
		lines, err := bundles.ReadList(f, path)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		list = append(list, lines...)
	}
	for _, word := range c.StringSlice("image") {
		source, name, named := strings.Cut(word, "=")
		if source == "" || named && name == "" {
			return nil, usagef("--image %q is not of the form SRC or SRC=NAME (ghcr.io/x/cexec:v1=127.0.0.1/embedded/cexec)", word)
		}
		list = append(list, bundles.Line{Source: source, Name: name, RemoveSource: named, Origin: "--image " + word})
	}
	return list, nil
}

func bundleSwitch(c *cli.Context) string {
	if c.Command.Name == "all" {
		return "embed-from-bundle"
	}
	return "from-bundle"
}
