package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build/onboard"
	"hookbuild/bundles"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// loadBundle loads the bundle that the flags name: a manifest, or else a release, or
// else that of the installed eksctl, or else the latest release.
func (a *app) loadBundle(c *cli.Context) (*bundles.Bundle, error) {
	client, err := a.webClient(c)
	if err != nil {
		return nil, err
	}
	resolver := &bundles.Resolver{Web: client, ReleasesURL: c.String("releases-url"), Offline: c.Bool("offline"), Progress: a.sink()}
	ref := bundles.Ref{Bundle: c.String("bundle"), EKSAVersion: c.String("eksa-version")}
	if a.cluster != nil && a.cluster.Version != "" && ref.Bundle == "" { // webClient has read it
		if v := ref.EKSAVersion; v != "" && strings.TrimPrefix(v, "v") != strings.TrimPrefix(a.cluster.Version, "v") {
			return nil, usagef("--eksa-version %s: %s of --cluster says EKS Anywhere %s (spec.eksaVersion); leave --eksa-version out, or correct the file", v, a.cluster.File, a.cluster.Version)
		}
		ref.EKSAVersion = a.cluster.Version
	}
	if ref == (bundles.Ref{}) && a.locked == nil {
		output, note, err := bundles.Eksctl{}.Version(c.Context)
		if err != nil {
			return nil, err
		}
		if note != "" {
			a.note("%s", note)
		}
		ref.Eksctl = output
	}
	task := progress.Start(a.sink(), 0, "read the bundle manifest")
	bundle, err := a.readBundle(c, resolver, ref)
	if err != nil {
		return nil, task.End(err, "")
	}
	if err := a.keepBundle(c, bundle); err != nil {
		return nil, task.End(err, "")
	}
	return bundle, errors.Join(task.End(nil, bundle.String()), a.checkSignature(c, bundle), a.checkRelease(c, bundle))
}

// checkRelease rejects a bundle that --bundle names, if it is of another release than
// the cluster: its actions and worker would be those of the wrong release.
func (a *app) checkRelease(c *cli.Context, b *bundles.Bundle) error {
	if !c.IsSet("bundle") || a.cluster == nil || a.cluster.Version == "" || b.Release() == "" || b.Release() == a.cluster.Version {
		return nil
	}
	return usagef("--bundle %s is the manifest of EKS Anywhere %s, and %s says %s (spec.eksaVersion); name the manifest of %[4]s, leave --bundle out to embed what that release has, or correct the file",
		web.Show(c.String("bundle")), b.Release(), a.cluster.File, a.cluster.Version)
}

// readBundle reads the manifest that the lock names, else the one that ref means.
func (a *app) readBundle(c *cli.Context, resolver *bundles.Resolver, ref bundles.Ref) (*bundles.Bundle, error) {
	data, origin, err := a.lockedBundle(c)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the bundle manifest of the lock: %w", err)
	case data != nil:
		return bundles.Parse(data, origin)
	case a.locked != nil && a.locked.Bundle != nil:
		ref = bundles.Ref{Bundle: a.pathsOf(c).path(c.Context, a.locked.Bundle.Location)}
	}
	return resolver.Load(c.Context, ref)
}

// checkSignature reports whether AWS signed the bundle, and what the signature
// covers. A wrong signature is an error, an absent one only with
// --require-signature.
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
		return fault.Invalidf("%w; use a bundle of v0.22.0 or later as AWS publishes it, or leave out --require-signature", err)
	}
	if b.IsSignedRelease() {
		progress.Warnf(a.sink(), "%s has no signature, although AWS signs the bundles of its release: it was changed, or is not AWS's; use the one that AWS publishes (--require-signature refuses others)", b)
		return nil
	}
	a.note("%s has no signature, so only its source vouches for it. Each image is checked against the bundle's imageDigest as it is pulled", b)
	return nil
}

// embedRequest returns the images that the flags name. It reads the bundle if
// fromBundle is set.
func (a *app) embedRequest(c *cli.Context, fromBundle bool) (*onboard.Embed, error) {
	if err := a.checkNamed(c); err != nil {
		return nil, err
	}
	list, err := imageList(c)
	if err != nil {
		return nil, err
	}
	if list, err = a.nameSaved(c, list); err != nil {
		return nil, err
	}
	e := &onboard.Embed{List: list}
	fromBundle = fromBundle || namesBundle(c)
	if !fromBundle {
		return e, checkBundleless(c)
	}
	if err := checkBundleFlags(c); err != nil {
		return nil, err
	}
	if e.Bundle, err = a.loadBundle(c); err != nil {
		return nil, err
	}
	e.WorkerFrom = c.String("worker-from")
	e.Options = bundles.Options{WorkerImage: c.String("worker-image"), NoWorker: c.Bool("no-worker"), KubeVersion: c.String("kube-version")}
	if c.IsSet("keep-source-names") {
		e.Options.SourceNames = bundles.Drop
		if c.Bool("keep-source-names") {
			e.Options.SourceNames = bundles.Keep
		}
	}
	mirrors, err := a.mirrors(c)
	if err != nil {
		return nil, err
	}
	for _, m := range mirrors {
		e.Options.Mirrors = append(e.Options.Mirrors, bundles.Mirror(m))
	}
	if a.cluster == nil {
		return e, nil
	}
	images, _, err := e.Listed("amd64") // of names and digests, which are those of all architectures
	if err != nil {
		return nil, err
	}
	e.List = append(e.List, a.clusterImages(c, a.cluster, images)...)
	return e, nil
}

// checkBundleless rejects the options of a bundle where none is embedded.
func checkBundleless(c *cli.Context) error {
	for _, flag := range bundleFlags() {
		name := flag.Names()[0]
		if !c.IsSet(name) {
			continue
		}
		switch name {
		case "worker-image":
			return usagef("--%s applies to a bundle; add --%s or, without a bundle, embed the worker with --image %s=%s", name, bundleSwitch(c), c.String(name), bundles.Worker)
		case "worker-from":
			return usagef("--%s applies to a bundle; add --%s or, without a bundle, embed a worker with --image SRC=%s", name, bundleSwitch(c), bundles.Worker)
		}
		return usagef("--%s applies to a bundle; add --%s", name, bundleSwitch(c))
	}
	return nil
}

// namesBundle reports whether an option names a bundle, which is then embedded.
func namesBundle(c *cli.Context) bool {
	return c.IsSet("cluster") || c.IsSet("bundle") || c.IsSet("eksa-version")
}

// checkBundleFlags rejects contradictions before anything is fetched.
func checkBundleFlags(c *cli.Context) error {
	if c.IsSet("bundle") && c.IsSet("eksa-version") {
		return usagef("--bundle and --eksa-version both name a bundle; use one of them")
	}
	var worker []string
	for _, name := range []string{"worker-from", "worker-image", "no-worker"} {
		if c.IsSet(name) {
			worker = append(worker, "--"+name)
		}
	}
	if len(worker) > 1 {
		return usagef("%s are mutually exclusive; use one of them", strings.Join(worker, " and "))
	}
	if version := c.String("eksa-version"); version != "" && version != bundles.Latest && !wholeVersion.MatchString(version) {
		return usagef("--eksa-version %q is not a release such as v0.24.1, and not latest", version)
	}
	return nil
}

var wholeVersion = regexp.MustCompile(`^v?\d+\.\d+\.\d+`)

// imageList returns the images of --images-file and --image.
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
	for _, line := range list {
		if err := checkSource(line); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// nameSaved gives each image of docker save that the list does not name the name in its
// archive, if that has exactly one.
func (a *app) nameSaved(c *cli.Context, list bundles.List) (bundles.List, error) {
	named := map[string]bool{}
	for _, line := range list {
		named[line.Source] = named[line.Source] || line.Name != ""
	}
	var client *oci.Client
	list = slices.Clone(list)
	for i, line := range list {
		if named[line.Source] || !strings.HasPrefix(line.Source, oci.DockerArchive) {
			continue
		}
		if client == nil {
			store, err := a.openCache(c)
			if err != nil {
				return nil, err
			}
			if client, err = a.newClient(c, store); err != nil {
				return nil, err
			}
		}
		names, err := client.SavedNames(c.Context, line.Source)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line.Origin, err)
		}
		const howToName = "name it as actions ask for it: %[2]s=127.0.0.1/embedded/NAME with --image, a second column in a list of images"
		switch len(names) {
		case 0:
			return nil, fault.Invalidf("%s: %s has no name for its image, which was saved by its ID; "+howToName, line.Origin, line.Source)
		case 1:
			list[i].Name, named[line.Source] = names[0], true
		default:
			return nil, fault.Invalidf("%s: %s has several names: %[3]s; choose one with %[2]s:NAME, or "+howToName, line.Origin, line.Source, strings.Join(names, ", "))
		}
	}
	return list, nil
}

// checkSource rejects a path where a reference or the form of a file belongs, before
// its first part is asked as a registry.
func checkSource(line bundles.Line) error {
	isPath := slices.ContainsFunc([]string{"/", "./", "../"}, func(p string) bool { return strings.HasPrefix(line.Source, p) })
	info, err := os.Stat(line.Source)
	isArchive := err == nil && info.Mode().IsRegular() && strings.Contains(filepath.Base(line.Source), ".tar")
	switch {
	case bundles.IsLocal(line.Source) || !isPath && !isArchive:
		return nil
	case err == nil && info.IsDir() && !exists(filepath.Join(line.Source, "index.json")):
		return fault.Invalidf("%s: %s is a directory without an OCI layout; images are named by reference, or as docker-archive:FILE (from docker save), oci-archive:FILE or oci:DIR", line.Origin, line.Source)
	case err == nil && info.IsDir():
		return fault.Invalidf("%s: %s is a directory; name the OCI layout in it as oci:%[2]s", line.Origin, line.Source)
	default:
		return fault.Invalidf("%s: %s is a path, and images are named by reference; did you mean docker-archive:%[2]s (from docker save) or oci-archive:%[2]s?", line.Origin, line.Source)
	}
}

func bundleSwitch(c *cli.Context) string {
	if slices.Contains(namesOf(c.Command.Flags), "embed-from-bundle") {
		return "embed-from-bundle"
	}
	return "from-bundle"
}
